"""What replicas forgot of each path, as their traces say: why a client may find nothing where there was a tombstone.

A tombstone that every replica has may be forgotten (spec/tla/Healing.tla, Collect). Whoever then asks is told that
nothing was ever there: generation 0. That is as good as being told the tombstone, if such a tombstone was forgotten;
else it is a fault. The next write goes on above all generations that were forgotten in the path's slot, so it may leave
some out that nobody ever proposed.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from checker.errors import CannotCheck
from checker.operations import Operation

COLLECT: Final = b'"event":"Collect"'


class Forgotten(NamedTuple):
    """Of one path: the generations of the tombstones that were forgotten, in order, and those that were left out."""

    tombstones: tuple[int, ...]
    left_out: frozenset[int]

    def may_precede(self, number: int) -> bool:
        """May nothing have been found where this generation was, as it was forgotten or left out?"""
        return number in self.tombstones or number in self.left_out


NOTHING: Final = Forgotten((), frozenset())


class _Line(msgspec.Struct, gc=False):
    event: str
    path: str = ""
    generation: int = 0
    was_generation: int = 0
    outcome: str = ""


def forgotten(run: Path) -> dict[str, Forgotten]:
    """What was forgotten of each path, by the run's traces; most runs forget nothing. Raises CannotCheck."""
    tombstones: dict[str, set[int]] = {}
    highest: dict[str, int] = {}
    made: dict[str, set[int]] = {}
    decode = msgspec.json.Decoder(_Line).decode
    texts = [(file, file.read_bytes()) for file in sorted(run.glob("traces/*.ndjson"))]
    if not any(COLLECT in text for _, text in texts):
        return {}
    for file, text in texts:
        for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
            try:
                said = decode(line)
            except msgspec.MsgspecError as error:
                raise CannotCheck(f"{file}:{number}: {error}") from None
            if said.event == "Collect":
                tombstones.setdefault(said.path, set()).add(said.was_generation)
                highest[said.path] = max(highest.get(said.path, 0), said.was_generation)
            elif said.event == "Floor":
                highest[said.path] = max(highest.get(said.path, 0), said.generation)
            elif said.event in ("Propose", "Claim") and said.outcome == "applied":
                made.setdefault(said.path, set()).add(said.generation)
    return {
        path: Forgotten(
            tuple(sorted(tombstones.get(path, set()) - {0})),
            frozenset(range(1, top + 1)) - made.get(path, set()),
        )
        for path, top in highest.items()
    }


def understood(
    operations: Sequence[Operation], listed: Iterable[tuple[int, Operation]], known: Forgotten
) -> tuple[list[Operation], list[tuple[int, Operation]]]:
    """The same operations and lists, where whoever was told that nothing was ever there is taken to have been told of a
    tombstone that was forgotten: of the first one that is not older than what others had been told before."""
    listed = list(listed)
    told: list[tuple[int, int]] = []
    for number, operation in [(each.generation or 0, each) for each in operations] + listed:
        if number > 0 and operation.outcome == "ok" and operation.return_us is not None:
            insort(told, (operation.return_us, number))
    newest = 0
    so_far = [newest := max(newest, number) for _, number in told]

    def tombstone(operation: Operation) -> int:
        before = bisect_left(told, (operation.invoke_us, 0))
        least = so_far[before - 1] if before else 0
        return next((number for number in (0, *known.tombstones) if number >= least), 0)

    return (
        [_told(each, tombstone(each)) if each.generation == 0 else each for each in operations],
        [(number or tombstone(each), each) for number, each in listed],
    )


def _told(operation: Operation, tombstone: int) -> Operation:
    if tombstone == 0:
        return operation
    if operation.outcome != "ok":  # it was refused, as it found nothing: as well on this tombstone as on another
        return msgspec.structs.replace(operation, generation=None)
    return msgspec.structs.replace(operation, generation=tombstone, deleted=True)
