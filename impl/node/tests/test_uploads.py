"""Reading parts where disks fail: whoever has the bytes serves them, and nothing is called lost that may be there."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from impl.cluster.peers import Peers
from impl.errors import AmberioError, BadBytes, DiskFull, InternalError, NeverWritten, NoQuorum
from impl.model import Head, PartRef, ReplicaSet
from impl.node.limits import Timing
from impl.node.uploads import Uploads
from impl.storage.parts import PartStore, sha256

PART = b"the bytes of a part"
REF = PartRef(sha256([PART]), len(PART))
HEAD = Head(1, False, "etag", len(PART), "text/plain", 0, None, (REF,), ())
GROUP = ReplicaSet(("n1", "n2", "n3"), 2)
FAILS = InternalError("the disk failed: Input/output error")
MISSING = NeverWritten("there is no such part here")


class Parts:
    """What this node's disk does: the bytes of a part, or the error of having it and of keeping it."""

    def __init__(self, held: bytes | AmberioError, keeping: AmberioError | None = None) -> None:
        self.kept: list[str] = []
        self._held = held
        self._keeping = keeping

    async def get(self, slot: int, digest: str) -> bytes:
        if isinstance(self._held, AmberioError):
            raise self._held
        return self._held

    async def put(self, slot: int, digest: str, chunks: Sequence[bytes], *, verified: bool = False) -> bool:
        if self._keeping is not None:
            raise self._keeping
        self.kept.append(digest)
        return False


class Others:
    """What the other replicas say, by name."""

    def __init__(self, **told: bytes | AmberioError) -> None:
        self._told = told

    async def get_part(self, node: str, slot: int, digest: str, timeout_s: float) -> list[bytes]:
        told = self._told[node]
        if isinstance(told, AmberioError):
            raise told
        return [told]


def read(parts: Parts, others: Others, group: ReplicaSet = GROUP) -> bytes:
    uploads = Uploads("n1", cast(PartStore, parts), cast(Peers, others), Timing(), 1 << 30)

    async def whole() -> bytes:
        return b"".join([bytes(piece) async for piece in uploads.read(0, group, HEAD, 0, len(PART))])

    return asyncio.run(whole())


def test_a_part_that_is_missing_here_is_fetched_and_kept() -> None:
    parts = Parts(MISSING)
    assert read(parts, Others(n2=PART)) == PART
    assert parts.kept == [REF.digest]


@pytest.mark.parametrize("keeping", [DiskFull("no room"), FAILS])
def test_a_disk_that_cannot_keep_a_part_does_not_stand_in_the_way_of_serving_it(keeping: AmberioError) -> None:
    assert read(Parts(MISSING, keeping), Others(n2=PART)) == PART


def test_a_part_on_a_disk_that_fails_is_not_called_lost() -> None:
    with pytest.raises(NoQuorum, match="n1: the disk failed"):
        read(Parts(FAILS), Others(), ReplicaSet(("n1",), 1))
    with pytest.raises(NoQuorum):
        read(Parts(FAILS), Others(n2=MISSING, n3=MISSING))
    with pytest.raises(NoQuorum):
        read(Parts(MISSING), Others(n2=MISSING, n3=FAILS))


def test_a_part_that_nobody_has_whole_is_lost() -> None:
    with pytest.raises(BadBytes, match="could not be had"):
        read(Parts(BadBytes("rotten")), Others(n2=MISSING, n3=b"other bytes"))
