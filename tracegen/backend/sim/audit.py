"""What lies on the disks of a simulated cluster, held against what the storage promises.

When a client is told that its body is stored, each part of it is on as many disks as acknowledge a write. And when all
is over, every part has the bytes that its name says, unless the harness flipped a bit of it; and whatever part some
replica's head names is on as many disks, as parts are stored before any head names them. Or it is in the archive, if
there is one: then a node may let go of it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Final

from impl.api.s3.multipart import PARTS, UPLOADS
from impl.model import PART_BYTES, Head, slot_of
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
    heads = _heads(databases)
    in_archive = _archived_parts(heads, archived)
    for digest, (slot, path) in _named(heads, len(table)).items():
        if digest in in_archive:
            continue
        holders = [node for node in table[slot] if digest in stored[node]]
        if len(holders) < write_quorum:
            on = ", ".join(holders) or "no disk"
            problems.append(f"a head of {path} names the part {digest[:12]}, which is on {on}; not on {write_quorum}")
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
        if len(holders) < write_quorum and not is_archived(digest):
            on = ", ".join(holders) or "no disk"
            problems.append(
                f"the write of {target} was acknowledged with its part {digest[:12]} on {on}; not on {write_quorum}"
            )
    return problems


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


def _heads(databases: Databases) -> list[tuple[str, Head]]:
    """The heads of all paths, as each disk has them."""
    heads: list[tuple[str, Head]] = []
    for node, (file, vfs) in ((node, each) for node, files in databases.items() for each in files):
        connection = database.open_database(file, vfs=vfs)
        try:
            rows = database.scan(connection, "", None, PATHS_MAX, with_older=True)
            assert not rows.has_more, f"{node} has more paths than an audit looks at"
            heads += [(path, register.head) for path, register in rows.registers if register.head is not None]
        finally:
            connection.close()
    return heads


def _archived_parts(heads: Sequence[tuple[str, Head]], archived: Mapping[str, bytes]) -> set[str]:
    """The digests of the parts that archived bodies have, cut as some head of their path says."""
    found: set[str] = set()
    for path, head in heads:
        body = archived.get(path, b"")
        at = 0
        for ref in head.versions[-1].parts if body and head.versions else ():
            found.add(hashlib.sha256(body[at : at + ref.size_bytes]).hexdigest())
            at += ref.size_bytes
    return found


def _named(heads: Sequence[tuple[str, Head]], total_slots: int) -> dict[str, tuple[int, str]]:
    """Every part that a head on some disk names: its slot, and the path of one such head."""
    objects = dict(_object_of(path) for path, _ in heads if path.startswith(UPLOADS))
    named: dict[str, tuple[int, str]] = {}
    for path, head in heads:
        lives_at = path
        if path.startswith(PARTS):
            upload, _, _ = path.removeprefix(PARTS).partition("/")
            lives_at = objects[upload]
        for ref in (ref for version in head.versions for ref in version.parts):
            named.setdefault(ref.digest, (slot_of(lives_at, total_slots), path))
    return named


def _object_of(upload_path: str) -> tuple[str, str]:
    """An upload's id, and the path of its object: there its parts live."""
    bucket, _, key, upload = upload_path.removeprefix(UPLOADS).split("/")
    return upload, f"{bucket}/{bytes.fromhex(key).decode()}"
