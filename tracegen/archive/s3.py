"""The archive of a run of real processes: an S3 server that outlives every node, and a proxy on each node's way."""

import asyncio
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec

from tracegen.archive.face import GENERATION, Change, Held, Way
from tracegen.archive.proxy import ArchiveProxy
from tracegen.backend.face import Answer, Crossing
from tracegen.backend.spawning import HOST, spawn
from tracegen.errors import HarnessError, Lost, NotSent
from tracegen.workload.connection import HttpConnection

BUCKET: Final = "archive"
SERVER: Final = (sys.executable, "-m", "tracegen.archive.s3_server")
READY_S: Final = 30.0
POLL_S: Final = 0.02
READ_S: Final = 30.0
_SOMEBODY: Final = (("authorization", "AWS4-HMAC-SHA256 Credential=harness/20260101/us-east-1/s3/aws4_request"),)
"""Who asks for an object must be somebody; moto takes anybody for whom he says to be."""
_XML: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"


async def request(port: int, target: str, deadline_s: float) -> Answer:
    """Ask an S3, or a proxy on the way there, on a connection of its own. Raises NotSent and Lost."""
    connection = HttpConnection(HOST, port)
    try:
        return await connection.request("GET", target, _SOMEBODY, None, deadline_s)
    finally:
        connection.close()


class S3Behind:
    """See `face.ArchiveBehind`. It has to be started, and to be stopped."""

    def __init__(self, nodes: Sequence[str], log: Path, changes: Path, request_life_s: float) -> None:
        self._log = log
        self._changes = changes
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._ways = {node: Way() for node in nodes}
        self._life_s = request_life_s
        self._proxies: dict[str, ArchiveProxy] = {}

    async def start(self, port: int) -> None:
        """Start the server on this port, with an empty bucket; raises HarnessError with what it said."""
        self._port = port
        self._changes.write_bytes(b"")
        command = [*SERVER, str(port), BUCKET, str(self._changes.resolve())]
        with self._log.open("ab") as log:
            self._process = await spawn(command, log)
        await self._until_ready(self._process)
        for node, way in self._ways.items():
            proxy = self._proxies[node] = ArchiveProxy(node, port, way, self._life_s, node)
            await proxy.open()

    async def stop(self) -> None:
        """End the server, and with it all that it holds."""
        for proxy in self._proxies.values():
            await proxy.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

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
            await request(self._proxies[node].address[1], f"/{BUCKET}?list-type=2&max-keys=1", patience_s)
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
            answer = await request(self._port, target, READ_S)
        except (Lost, NotSent) as error:
            raise HarnessError(f"the archive's server does not answer: {error}{self._last_lines()}") from error
        if answer.status != 200:
            says = answer.body[:200].decode("utf-8", "replace")
            raise HarnessError(f"the archive answers {answer.status} to GET {target}: {says}")
        return answer

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        clock = asyncio.get_running_loop().time
        end_s = clock() + READY_S
        while clock() < end_s:
            if process.returncode is not None:
                code = process.returncode
                raise HarnessError(f"the archive's server ended with exit code {code}{self._last_lines()}")
            try:
                await self._get(f"/{BUCKET}?list-type=2&max-keys=1")
            except HarnessError:
                await asyncio.sleep(POLL_S)
            else:
                return
        raise HarnessError(f"the archive's server is not ready after {READY_S:g} s{self._last_lines()}")

    def _last_lines(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(f"\n    {line[:500]}" for line in lines[-12:])


def _held(answer: Answer) -> Held:
    told = answer.headers.get(f"x-amz-meta-{GENERATION}".encode(), b"")
    number = int(told) if told.isdigit() else None
    return Held(len(answer.body), hashlib.sha256(answer.body).hexdigest(), number)
