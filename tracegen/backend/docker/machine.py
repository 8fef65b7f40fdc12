"""A node's machine: a container that holds its address and its disk, and through which the harness breaks them.

A node that is killed leaves its machine as it was, cut off or full as it may be. The node's own container has no rights
over the network; this one has NET_ADMIN, for the packet filter of the network that both share.
"""

import asyncio
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracegen.backend.docker.engine import Mark, understood
from tracegen.errors import HarnessError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

AGENT: Final = Path(__file__).with_name("agent.py")
AGENT_THERE: Final = "/harness/agent.py"
AGENT_PORT: Final = 7000
DISK: Final = "/disk"
ANSWER_S: Final = 20.0
UP_S: Final = 20.0
POLL_S: Final = 0.02


class Machine:
    """One node's. `host` is its address, which is the node's."""

    def __init__(self, node: str, host: str) -> None:
        self.node = node
        self.host = host
        self._container: Container | None = None
        self._socket: socket.socket | None = None

    @property
    def network_mode(self) -> str:
        """How a container is told to live here."""
        assert self._container is not None
        return f"container:{self._container.id}"

    def start(self, client: "DockerClient", mark: Mark, image: str, network: str, binds: list[str]) -> None:
        """Make it and start it; it is up some time later."""
        with understood():
            endpoint = client.api.create_endpoint_config(ipv4_address=self.host)
            made = client.api.create_container(
                image,
                name=mark.name(f"{self.node}-machine"),
                hostname=self.node,
                entrypoint=["python3"],
                command=[AGENT_THERE, str(AGENT_PORT), DISK],
                user="0",
                labels=mark.labels,
                networking_config={"EndpointsConfig": {network: endpoint}},
                host_config=client.api.create_host_config(
                    binds=[f"{AGENT}:{AGENT_THERE}:ro", *binds],
                    network_mode=network,
                    cap_drop=["ALL"],
                    cap_add=["NET_ADMIN", "NET_RAW", "DAC_OVERRIDE"],
                    security_opt=["no-new-privileges"],
                ),
            )
            self._container = client.containers.get(made["Id"])
            self._container.start()

    async def until_up(self) -> None:
        """Wait until it does as told; raises HarnessError with what it said instead."""
        clock = asyncio.get_running_loop().time
        end_s = clock() + UP_S
        while True:
            try:
                self._socket = socket.create_connection((self.host, AGENT_PORT), timeout=ANSWER_S)
                return
            except OSError as error:
                if clock() > end_s:
                    assert self._container is not None
                    with understood():
                        said = self._container.logs(tail=5).decode("utf-8", "replace").strip()
                    raise HarnessError(
                        f"the machine of {self.node} cannot be reached at {self.host} ({error}): the harness must run "
                        f"where the engine runs; it said: {said}"
                    ) from None
                await asyncio.sleep(POLL_S)

    def tell(self, command: str, *arguments: object) -> Any:
        """Have a command of `agent.py` carried out, which takes milliseconds; raises HarnessError if it cannot be."""
        if self._socket is None:
            raise HarnessError(f"the machine of {self.node} is not up")
        try:
            self._socket.sendall(_line(command, arguments))
            answer = b""
            while not answer.endswith(b"\n"):
                chunk = self._socket.recv(65536)
                if not chunk:
                    raise ConnectionError("it hung up")
                answer += chunk
        except OSError as error:
            raise HarnessError(f"the machine of {self.node} does not do {command}: {error}") from error
        return self._told(command, answer)

    async def ask(self, command: str, *arguments: object) -> Any:
        """The same for what takes its time: others go on meanwhile."""
        try:
            reader, writer = await asyncio.open_connection(self.host, AGENT_PORT)
            try:
                writer.write(_line(command, arguments))
                answer = await reader.readline()
            finally:
                writer.close()
        except OSError as error:
            raise HarnessError(f"the machine of {self.node} does not do {command}: {error}") from error
        return self._told(command, answer)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _told(self, command: str, answer: bytes) -> Any:
        says = json.loads(answer or b'{"wrong": "it hung up"}')
        if "wrong" in says:
            raise HarnessError(f"the machine of {self.node} cannot {command}: {says['wrong']}")
        return says["told"]


def _line(command: str, arguments: tuple[object, ...]) -> bytes:
    return json.dumps({"do": command, "with": arguments}).encode() + b"\n"
