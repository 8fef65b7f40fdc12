"""The cluster as a run sees it: the interface that every backend implements (process; docker and sim are to come).

Everything is by node id. Methods that wait take no time-out: each backend bounds its own waits and raises
HarnessError, with the node's last log lines where there are any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from tracegen.archive.face import ArchiveBehind

NodeState = Literal["running", "paused", "gone"]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Header names are lower-case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(frozen=True)
class Crossing:
    """What became of a request sent over a link as a node would send it, and after how long (milliseconds)."""

    result: Literal["answered", "broken", "stalled"]
    took_ms: float


class Connection(Protocol):
    """A client's persistent connection to one node; one request at a time."""

    async def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None, deadline_s: float
    ) -> Answer:
        """Raises NotSent when the node certainly never saw it, Lost when it may have."""
        ...

    def close(self) -> None: ...


class Wire(Protocol):
    """The way from one node to another, under the harness's hand."""

    @property
    def passed_bytes(self) -> int:
        """How many bytes of the first node the second was given so far."""
        ...

    def open(self) -> None:
        """As it should be: bytes flow at once. What a stall held back arrives now."""

    def cut(self) -> None:
        """Connections that the first node makes to the second are reset, and new ones too."""

    def stall(self) -> None:
        """Bytes from the first node to the second wait, on the connections of both; nobody is told."""

    def delay(self, delay_s: float, jitter_s: float, seed: str) -> None:
        """Bytes from the first node to the second arrive later, in order."""

    def drop_connections(self) -> int:
        """Reset the open connections that the first node made to the second; how many there were."""


class Cluster(Protocol):
    """One cluster for one run."""

    @property
    def nodes(self) -> tuple[str, ...]: ...

    @property
    def archive(self) -> "ArchiveBehind | None":
        """The archive behind it, if there is one that can be broken and looked into."""
        ...

    async def start(self) -> None:
        """Start every node and wait until all are ready."""

    async def stop(self) -> list[str]:
        """End everything, gently where possible; what was wrong with how nodes ended, one line each."""

    def connection(self, node: str) -> Connection: ...

    async def start_node(self, node: str) -> None:
        """Start a node that is gone, and wait until it is ready."""

    async def kill(self, node: str) -> int:
        """End a node at once (kill -9); its exit code."""

    async def lose_disk(self, node: str) -> int:
        """Put empty disks in the place of those of a node that is gone; how many files were lost."""
        ...

    async def terminate(self, node: str) -> int:
        """Ask a node to drain and end (SIGTERM), and wait; its exit code."""

    def pause(self, node: str) -> None: ...

    def resume(self, node: str) -> None: ...

    def state(self, node: str) -> NodeState:
        """As the system below sees it, not as we remember it."""
        ...

    def wire(self, source: str, target: str) -> Wire: ...

    async def try_link(self, source: str, target: str, patience_s: float) -> Crossing: ...

    async def is_link_reset(self, source: str, target: str, patience_s: float) -> bool:
        """Open a connection as the first node would, say nothing, and see whether it is reset within this time."""
        ...

    def unexpected_deaths(self) -> list[str]:
        """Nodes that ended though nobody asked them to, one line each with their last log lines."""
        ...

    def versions(self) -> dict[str, str]: ...
