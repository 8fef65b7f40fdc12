"""The archive of a run of real nodes: an S3 server that outlives them all, and a proxy on each node's way.

Where the server runs is its backend's: beside the nodes' processes (`S3Process`), or in a container of its own.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec

from tracegen.archive.face import GENERATION, Change, Held, Way
from tracegen.archive.proxy import ArchiveProxy
from tracegen.backend.face import Answer, Crossing
from tracegen.backend.proxy import HOST
from tracegen.backend.spawning import spawn
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.places import last_lines
from tracegen.workload.connection import HttpConnection

BUCKET: Final = "archive"
SERVER: Final = (sys.executable, "-m", "tracegen.archive.s3_server")
READY_S: Final = 30.0
POLL_S: Final = 0.02
READ_S: Final = 30.0
_SOMEBODY: Final = (("authorization", "AWS4-HMAC-SHA256 Credential=harness/20260101/us-east-1/s3/aws4_request"),)
"""Who asks for an object must be somebody; moto takes anybody for whom he says to be."""
_XML: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"


Address = tuple[str, int]


class S3Server(Protocol):
    """Where the archive's server runs."""

    async def start(self, changes: Path) -> Address:
        """Start it with an empty bucket, to write what changes into that file; where it will answer."""
        ...

    def ended(self) -> str | None:
        """How it ended, if it has."""
        ...

    async def stop(self) -> None:
        """End it, and with it all that it holds."""


class S3Process:
    """See `S3Server`: a process of this machine."""

    def __init__(self, log: Path, port: int) -> None:
        self._log = log
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, changes: Path) -> Address:
        command = [*SERVER, HOST, str(self._port), BUCKET, str(changes)]
        with self._log.open("ab") as log:
            self._process = await spawn(command, log)
        return HOST, self._port

    def ended(self) -> str | None:
        code = None if self._process is None else self._process.returncode
        return None if code is None else f"exit code {code}"

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def request(address: Address, target: str, deadline_s: float) -> Answer:
    """Ask an S3, or a proxy on the way there, on a connection of its own. Raises NotSent and Lost."""
    connection = HttpConnection(*address)
    try:
        return await connection.request("GET", target, _SOMEBODY, None, deadline_s)
    finally:
        connection.close()


class S3Behind:
    """See `face.ArchiveBehind`. It has to be started, and to be stopped."""

    def __init__(self, nodes: Sequence[str], server: S3Server, log: Path, changes: Path, request_life_s: float) -> None:
        self._server = server
        self._log = log
        self._changes = changes
        self._address: Address = ("", 0)
        self._ways = {node: Way() for node in nodes}
        self._life_s = request_life_s
        self._proxies: dict[str, ArchiveProxy] = {}

    async def start(self, proxies_at: str = HOST) -> None:
        """Start the server, and the proxies at this address of ours; raises HarnessError with what the server said."""
        self._changes.write_bytes(b"")
        self._address = await self._server.start(self._changes)
        await self._until_ready(self._server.ended)
        for node, way in self._ways.items():
            proxy = self._proxies[node] = ArchiveProxy(node, self._address, way, self._life_s, node)
            await proxy.open(proxies_at)

    async def stop(self) -> None:
        """End the server, and with it all that it holds."""
        for proxy in self._proxies.values():
            await proxy.close()
        await self._server.stop()

    def place(self, node: str) -> dict[str, object]:
        """Where the archive is for a node, as its configuration says that."""
        return {
            "s3": {
                "bucket": BUCKET,
                "region": "us-east-1",
                "endpoint": "http://{}:{}".format(*self._proxies[node].address),
                "allow_http": True,
                "credentials": {"access_key_id": "harness", "secret_access_key": "harness-secret"},
            }
        }

    # -- what a run sees

    @property
    def late(self) -> int:
        return sum(proxy.late for proxy in self._proxies.values())

    def way(self, node: str) -> Way:
        return self._ways[node]

    def let_know(self, node: str) -> None:
        self._proxies[node].break_connections(only_silent=True)

    def break_connections(self, node: str) -> None:
        self._proxies[node].break_connections()

    async def try_way(self, node: str, patience_s: float) -> Crossing:
        clock = asyncio.get_running_loop().time
        start_s = clock()
        try:
            await request(self._proxies[node].address, f"/{BUCKET}?list-type=2&max-keys=1", patience_s)
        except (Lost, NotSent):
            took_s = clock() - start_s
            return Crossing("broken" if took_s < patience_s * 0.95 else "stalled", took_s * 1000)
        return Crossing("answered", (clock() - start_s) * 1000)

    async def contents(self) -> dict[str, Held]:
        held: dict[str, Held] = {}
        after = ""
        while True:
            page = await self._get(f"/{BUCKET}?list-type=2&max-keys=1000&start-after={quote(after, safe='')}")
            document = ElementTree.fromstring(page.body)
            keys = [entry.findtext(f"{_XML}Key", "") for entry in document.iter(f"{_XML}Contents")]
            for key in keys:
                held[key] = _held(await self._get(f"/{BUCKET}/{quote(key)}"))
            if document.findtext(f"{_XML}IsTruncated") != "true" or not keys:
                return held
            after = keys[-1]

    def changes(self) -> Sequence[Change]:
        content = self._changes.read_bytes()
        return msgspec.json.Decoder(Change).decode_lines(content[: content.rfind(b"\n") + 1])

    async def _get(self, target: str) -> Answer:
        try:
            answer = await request(self._address, target, READ_S)
        except (Lost, NotSent) as error:
            raise HarnessError(f"the archive's server does not answer: {error}{self._last_lines()}") from error
        if answer.status != 200:
            says = answer.body[:200].decode("utf-8", "replace")
            raise HarnessError(f"the archive answers {answer.status} to GET {target}: {says}")
        return answer

    async def _until_ready(self, ended: Callable[[], str | None]) -> None:
        clock = asyncio.get_running_loop().time
        end_s = clock() + READY_S
        while clock() < end_s:
            how = ended()
            if how is not None:
                raise HarnessError(f"the archive's server ended with {how}{self._last_lines()}")
            try:
                await self._get(f"/{BUCKET}?list-type=2&max-keys=1")
            except HarnessError:
                await asyncio.sleep(POLL_S)
            else:
                return
        raise HarnessError(f"the archive's server is not ready after {READY_S:g} s{self._last_lines()}")

    def _last_lines(self) -> str:
        return last_lines(self._log)


def _held(answer: Answer) -> Held:
    told = answer.headers.get(f"x-amz-meta-{GENERATION}".encode(), b"")
    number = int(told) if told.isdigit() else None
    return Held(len(answer.body), hashlib.sha256(answer.body).hexdigest(), number)
