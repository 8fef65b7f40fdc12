"""The archive as a run sees it: what can be wrong with a node's way there, what it holds, and what became of it.

A backend that has an archive keeps this interface: `backend/process.py` with an S3 server of its own behind proxies,
`backend/sim/` with S3 in memory.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import msgspec

from tracegen.backend.face import Crossing

GENERATION: Final = "amberio-generation"
"""The metadata name under which an archived object has its head's generation, in decimal."""

Outage = Literal["refuses", "silent"]
"""What who asks during an outage meets: a connection that is reset, or nothing at all."""


@dataclass
class WayFaults:
    """What is wrong now with one node's way to the archive. Shares are of the requests on it, each drawn anew.

    - `outage`: nothing arrives, and no answer to what had arrived gets out.
    - `slow_s`, `slow_jitter_s`: a request arrives so much later, and up to so much more.
    - `throttle`: refused with a 503 SlowDown; nothing is done.
    - `lose`: carried out, and the answer is lost; half of these connections break, of the others nothing is heard.
    - `cut`: the connection breaks in the middle of a body: of the request, which is not carried out then, or as often
      of the answer.
    - `late`: a write arrives up to `late_s` after it was sent, while others overtake it; who sent it is told nothing
      until then, or as often that the connection broke.
    """

    outage: Outage | None = None
    slow_s: float = 0.0
    slow_jitter_s: float = 0.0
    throttle: float = 0.0
    lose: float = 0.0
    cut: float = 0.0
    late: float = 0.0
    late_s: float = 0.0


@dataclass
class Way:
    """One node's way to the archive, under the harness's hand. `done` counts what faults did to it, by their names."""

    faults: WayFaults = field(default_factory=WayFaults)
    done: Counter[str] = field(default_factory=Counter)


class Held(msgspec.Struct, frozen=True):
    """An object as it lies in the archive. `generation` is what its metadata say, None if they say no number."""

    size_bytes: int
    sha256: str
    generation: int | None


class Change(msgspec.Struct, frozen=True):
    """A line of archive.ndjson: an object was made or replaced, or is gone, in the order in which that happened.

    `at_s` is by the clock of the run's event loop. The same bytes have the same etag, whoever wrote them; none: gone.
    """

    at_s: float
    key: str
    generation: int | None
    etag: str | None

    @property
    def is_there(self) -> bool:
        return self.etag is not None


class ArchiveBehind(Protocol):
    """The archive of one run."""

    @property
    def late(self) -> int:
        """Requests that are held back, and will yet arrive."""
        ...

    def way(self, node: str) -> Way: ...

    def let_know(self, node: str) -> None:
        """A fault is over: what the node waits for in vain on its way there, it hears to be broken."""

    async def try_way(self, node: str, patience_s: float) -> Crossing:
        """Ask for a list of nothing as the node would."""
        ...

    async def contents(self) -> dict[str, Held]:
        """All objects by their keys, as any S3 client may read them."""
        ...

    def changes(self) -> Sequence[Change]:
        """All that happened to objects so far."""
        ...
