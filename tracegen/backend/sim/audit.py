"""What lies on the disks of a simulated cluster, held against what the storage promises.

When a client is told that its body is stored, each part of it is on as many disks as acknowledge a write. And when all
is over, every part has the bytes that its name says, unless the harness flipped a bit of it; whoever has accepted a
head has each part that it names, so that what was chosen is on as many disks as have accepted it; and what an upload
names that is not over is on as many disks as acknowledge a write. Or it is in the archive, if there is one: then a node
may let go of it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Final

from impl.api.s3.multipart import PARTS, UPLOADS
from impl.model import PART_BYTES, SYSTEM_START, Ballot, Head, slot_of
from impl.protocol.placement import Table
from impl.storage import database
from tracegen.backend.sim.disks import SimDisks
from tracegen.backend.sim.vfs import SimDisk

PATHS_MAX: Final = 1_000_000


Databases = Mapping[str, Sequence[tuple[Path, str | None]]]
"""node -> each of its databases, and the VFS that has it."""


def audit(
    disks: Mapping[str, SimDisk | SimDisks],
    databases: Databases,
    table: Table,
    write_quorum: int,
    archived: Mapping[str, bytes],
) -> list[str]:
    """A line for each promise that is broken. All nodes have stopped, and their disks work.

    `archived` are the bodies in the archive, by path.
    """
    stored = {node: _digests(disk) for node, disk in disks.items()}
    if not any(stored.values()):
        return []
    problems = [
        f"{node} has a part {digest[:12]} with other bytes, though no bit of it has rotted"
        for node, digests in stored.items()
        for digest, is_right in digests.items()
        if not is_right
    ]
    heads = {node: _heads(files) for node, files in databases.items()}
    in_archive = _archived_parts(heads, archived)
    for node, of_node in heads.items():
        for path, (_, head) in of_node.items():
            lacking = sorted(_digests_in(head) - stored[node].keys() - in_archive)
            if lacking and not path.startswith(SYSTEM_START):
                problems.append(f"{node} has accepted a head of {path} and not its part {lacking[0][:12]}")
    for path, digest, slot in _uploading(heads, len(table), write_quorum):
        holders = [node for node in table[slot] if digest in stored[node]]
        if len(holders) + _replaced(disks, table[slot], holders) < write_quorum:
            on = ", ".join(holders) or "no disk"
            problems.append(f"the upload {path} names the part {digest[:12]}, which is on {on}; not on {write_quorum}")
    return problems


def unstored(
    disks: Mapping[str, SimDisk | SimDisks],
    target: str,
    body: bytes,
    write_quorum: int,
    is_archived: Callable[[str], bool],
) -> list[str]:
    """A line for each part of an acknowledged body that a power cut of all machines could leave on too few disks.

    What was in the archive since may be gone from them: a retry is told of a write that was long ago.
    """
    problems = []
    for begin in range(0, len(body), PART_BYTES):
        digest = hashlib.sha256(body[begin : begin + PART_BYTES]).hexdigest()
        holders = [node for node, disk in disks.items() if disk.is_durable(digest)]
        if len(holders) + _replaced(disks, disks, holders) < write_quorum and not is_archived(digest):
            on = ", ".join(holders) or "no disk"
            problems.append(
                f"the write of {target} was acknowledged with its part {digest[:12]} on {on}; not on {write_quorum}"
            )
    return problems


def _replaced(disks: Mapping[str, SimDisk | SimDisks], nodes: Iterable[str], holders: Sequence[str]) -> int:
    """How many others of these nodes lost their disk, and so perhaps the part that is looked for."""
    return sum(disks[node].is_replaced for node in nodes if node not in holders)


def _digests(disk: SimDisk | SimDisks) -> dict[str, bool]:
    """The parts on a disk, also those moved aside for a bit that rotted; has each the bytes that it should?"""
    found: dict[str, bool] = {}
    for name, content in disk.files():
        file = PurePath(name)
        if file.parent.name in ("parts", "rotten"):
            digest = file.name
            is_right = digest in disk.rotted or hashlib.sha256(content).hexdigest() == digest
            found[digest] = found.get(digest, False) or is_right
    return found


Heads = dict[str, tuple[Ballot, Head]]
"""What a node has accepted, by path."""


def _heads(files: Sequence[tuple[Path, str | None]]) -> Heads:
    heads: Heads = {}
    for file, vfs in files:
        connection = database.open_database(file, vfs=vfs)
        try:
            rows = database.scan(connection, "", None, PATHS_MAX, with_older=True)
        finally:
            connection.close()
        assert not rows.has_more, "there are more paths than an audit looks at"
        heads |= {path: (each.accepted, each.head) for path, each in rows.registers if each.head is not None}
    return heads


def _digests_in(head: Head) -> set[str]:
    return {ref.digest for version in head.versions for ref in version.parts}


def _uploading(heads: Mapping[str, Heads], total_slots: int, quorum: int) -> Iterator[tuple[str, str, int]]:
    """What is named by uploads that are not over, as a quorum has accepted it: path, digest, and the object's slot."""
    accepted: dict[str, list[tuple[Ballot, Head]]] = {}
    for of_node in heads.values():
        for path, each in of_node.items():
            accepted.setdefault(path, []).append(each)
    objects = dict(_object_of(path) for path in accepted if path.startswith(UPLOADS))
    for path, found in accepted.items():
        newest = max(ballot for ballot, _ in found)
        chosen = [head for ballot, head in found if ballot == newest]
        if not path.startswith(PARTS) or len(chosen) < quorum:
            continue
        upload, _, _ = path.removeprefix(PARTS).partition("/")
        for digest in _digests_in(chosen[0]):
            yield path, digest, slot_of(objects[upload], total_slots)


def _archived_parts(heads: Mapping[str, Heads], archived: Mapping[str, bytes]) -> set[str]:
    """The digests of the parts that archived bodies have, cut as some head of their path says."""
    found: set[str] = set()
    for path, (_, head) in (each for of_node in heads.values() for each in of_node.items()):
        body = archived.get(path, b"")
        at = 0
        for ref in head.versions[-1].parts if body and head.versions else ():
            found.add(hashlib.sha256(body[at : at + ref.size_bytes]).hexdigest())
            at += ref.size_bytes
    return found


def _object_of(upload_path: str) -> tuple[str, str]:
    """An upload's id, and the path of its object: there its parts live."""
    bucket, _, key, upload = upload_path.removeprefix(UPLOADS).split("/")
    return upload, f"{bucket}/{bytes.fromhex(key).decode()}"
