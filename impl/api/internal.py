"""The internal API, under /internal/v1 (native-api.md; feature A4): this replica's own records, for nodes and tools.

Every request proves that it knows the cluster's secret (`impl/cluster/secret.py`); a client's key never opens it.
"""

import hashlib
import re
from typing import Final, Protocol

import msgspec

from impl.api import arguments
from impl.api.http.exchange import Answer, Handler, Operation, Request, json_answer
from impl.api.http.routes import Route
from impl.api.node_face import Healer, Replica
from impl.cluster.secret import Secret
from impl.errors import DigestMismatch, InvalidArgument, NeverWritten, TooLarge
from impl.model import PART_BYTES, Ballot, Head, Register, head_digest, present, slot_of

PREFIX: Final = "/internal/v1"
PREFIXES_MAX: Final = 4096
PATHS_MAX: Final = 10_000
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
HEX: Final = re.compile(r"[0-9a-f]{1,4}")


class HeadRecord(msgspec.Struct, frozen=True):
    """A replica's own record of a path. Ballots are [round, node id], null for none; `kind` null: never written."""

    path: str
    slot_id: int
    promised: Ballot | None
    accepted: Ballot | None
    kind: str | None
    generation: int
    digest: str | None


class PartStored(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int
    reused: bool


class SlotletItem(msgspec.Struct, frozen=True):
    prefix: str
    digest: str
    objects: int


class SlotletsAnswer(msgspec.Struct, frozen=True):
    slot_id: int
    prefix_len: int
    slotlets: list[SlotletItem]


class HeadsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prefixes: list[str]


class HeadBrief(msgspec.Struct, frozen=True):
    kind: str
    generation: int
    digest: str | None


class HeadsAnswer(msgspec.Struct, frozen=True):
    slot_id: int
    heads: dict[str, HeadBrief]


class RepairRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source_node_id: str
    paths: list[str] = []
    dry_run: bool = False


class RepairAnswer(msgspec.Struct, frozen=True):
    """How many paths were behind the source, and are not any more (or would not be: `dry_run`); how many were not."""

    slot_id: int
    repaired_objects: int
    skipped_objects: int
    errors: int


class Clock(Protocol):
    """The part of the clock door that this room needs."""

    def now_ms(self) -> int: ...


class InternalApi:
    """The operations of A4 on this node's own store."""

    def __init__(self, replica: Replica, healer: Healer, secret: Secret, clock: Clock, total_slots: int) -> None:
        self._replica = replica
        self._healer = healer
        self._secret = secret
        self._clock = clock
        self._total_slots = total_slots

    def routes(self) -> tuple[Route, ...]:
        """Where each operation is served."""
        slot = PREFIX + r"/slots/[^/]+"

        def route(name: str, method: str, handle: Handler) -> dict[str, Operation]:
            return {method: Operation(f"internal_{name}", guarded(handle, self._secret, self._clock))}

        parts = route("part_put", "PUT", self.put_part) | route("part_get", "GET", self.get_part)
        return (
            Route(slot + "/heads/.+", route("head", "GET", self.head)),
            Route(slot + "/parts/[^/]+", parts),
            Route(slot + "/heal/slotlets", route("slotlets", "GET", self.slotlets)),
            Route(slot + "/heal/heads", route("heads", "POST", self.heads)),
            Route(slot + "/heal/repair", route("repair", "POST", self.repair)),
        )

    async def head(self, request: Request) -> Answer:
        """This replica's own record of a path, without asking anyone else."""
        slot, rest = self._slot(request)
        path = arguments.object_path(rest.removeprefix("heads/"))
        if slot_of(path, self._total_slots) != slot:
            belongs = slot_of(path, self._total_slots)
            raise InvalidArgument(f"{path!r} is not in slot {slot}; it is in slot {belongs}")
        register = await self._replica.register(slot, path)
        if not register.accepted and present(register.head) is None:
            raise NeverWritten(f"this replica has no record of {path!r}")
        return json_answer(200, _record(path, slot, register))

    async def put_part(self, request: Request) -> Answer:
        """Keep one part."""
        slot, rest = self._slot(request)
        digest = _digest(rest)
        assert isinstance(request.body, bytes)
        if hashlib.sha256(request.body).hexdigest() != digest:
            raise DigestMismatch(f"the body's SHA-256 is not {digest}; the part was not stored")
        reused = await self._replica.put_part(slot, digest, [request.body])
        return json_answer(200 if reused else 201, PartStored(digest, len(request.body), reused))

    async def get_part(self, request: Request) -> Answer:
        """The bytes of one part, checked against its digest."""
        slot, rest = self._slot(request)
        digest = _digest(rest)
        part = await self._replica.get_part(slot, digest)
        if part is None:
            raise NeverWritten(f"this replica has no part {digest} in slot {slot}")
        return Answer(200, (("Content-Type", "application/octet-stream"),), part, len(part))

    async def slotlets(self, request: Request) -> Answer:
        """Digests of the slot's heads, by hash prefix: equal digests need no comparing."""
        slot, _ = self._slot(request)
        text = arguments.query_arguments(request.query).get("prefix_len", "2")
        if text not in ("1", "2", "3", "4"):
            raise InvalidArgument(f"prefix_len is {text[:80]!r}; use 1 to 4")
        found = await self._replica.slotlets(slot, int(text))
        items = [SlotletItem(slotlet.prefix, slotlet.digest, slotlet.objects) for slotlet in found]
        return json_answer(200, SlotletsAnswer(slot, int(text), items))

    async def heads(self, request: Request) -> Answer:
        """What is under these hash prefixes, path by path."""
        slot, _ = self._slot(request)
        assert isinstance(request.body, bytes)
        try:
            asked = msgspec.json.decode(request.body, type=HeadsRequest)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f'the body must be {{"prefixes": ["00", ...]}}: {error}') from None
        wrong = [prefix for prefix in asked.prefixes if not HEX.fullmatch(prefix)]
        if wrong or len(asked.prefixes) > PREFIXES_MAX:
            raise InvalidArgument(f"give up to {PREFIXES_MAX} prefixes, each 1 to 4 lower-case hex digits: {wrong[:3]}")
        found = await self._replica.heads(slot, asked.prefixes)
        heads = {path: HeadBrief(_kind(head), head.generation, head_digest(head)) for path, head in found}
        return json_answer(200, HeadsAnswer(slot, heads))

    async def repair(self, request: Request) -> Answer:
        """Have this node adopt what another one has accepted in the slot: of these paths, or of all (`paths` empty)."""
        slot, _ = self._slot(request)
        assert isinstance(request.body, bytes)
        try:
            asked = msgspec.json.decode(request.body, type=RepairRequest)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f'the body must be {{"source_node_id": "n2", "paths": [...]}}: {error}') from None
        if len(asked.paths) > PATHS_MAX:
            raise InvalidArgument(
                f"{len(asked.paths)} paths are too many at once; give up to {PATHS_MAX}, or none for all"
            )
        elsewhere = [path for path in asked.paths if slot_of(path, self._total_slots) != slot]
        if elsewhere:
            raise InvalidArgument(
                f"{elsewhere[0]!r} is not in slot {slot}; it is in slot {slot_of(elsewhere[0], self._total_slots)}"
            )
        found = await self._healer.repair(asked.source_node_id, slot, asked.paths, asked.dry_run)
        repaired = found.behind if asked.dry_run else found.healed
        skipped = max(0, len(asked.paths) - found.behind)
        return json_answer(200, RepairAnswer(slot, repaired, skipped, found.errors))

    def _slot(self, request: Request) -> tuple[int, str]:
        """The slot in the URL, and what comes after it."""
        text, _, rest = request.path.removeprefix(f"{PREFIX}/slots/").partition("/")
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < self._total_slots):
            raise InvalidArgument(f"the slot is {text[:80]!r}; use 0 to {self._total_slots - 1}")
        return int(text), rest


def guarded(handle: Handler, secret: Secret, clock: Clock) -> Handler:
    """`handle`, for those who know the secret, once the body is read and is the one they signed."""

    async def checked(request: Request) -> Answer:
        target = f"{request.path}?{request.query}" if request.query else request.path
        digest = secret.check(request.method, target, request.headers, clock.now_ms())
        body = await read_body(request, PART_BYTES)
        if hashlib.sha256(body).hexdigest() != digest:
            raise DigestMismatch("the body is not the one that was signed; nothing was done")
        request.body = body
        return await handle(request)

    return checked


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """All of a body that must be small. Raises TooLarge above the limit, before reading if the length is announced."""
    body = request.body
    if isinstance(body, bytes):
        return body
    if body.size_bytes is not None and body.size_bytes > limit_bytes:
        raise TooLarge(f"the body has {body.size_bytes} bytes; at most {limit_bytes} are allowed here")
    return await body.read_all(limit_bytes)


def _digest(rest: str) -> str:
    digest = rest.removeprefix("parts/")
    if not DIGEST.fullmatch(digest):
        raise InvalidArgument(f"{digest[:80]!r} does not name a part; use its SHA-256 as 64 lower-case hex digits")
    return digest


def _record(path: str, slot: int, register: Register) -> HeadRecord:
    head = present(register.head)
    return HeadRecord(
        path=path,
        slot_id=slot,
        promised=register.promised or None,
        accepted=register.accepted or None,
        kind=_kind(head) if head else None,
        generation=register.generation,
        digest=head_digest(head) if head else None,
    )


def _kind(head: Head) -> str:
    return "tombstone" if head.deleted else "meta"
