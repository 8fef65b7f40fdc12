"""Who made which generation: by what writers were told, else by what readers saw, else by who is left over."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from checker.history.generations import MAKES_A_VERSION, NULL_VERSION, Content, Generation, Known, content_of
from checker.history.order import Order
from checker.operations import Operation

HOLD_ON_OBJECTS_ONLY: Final = frozenset({"exists", "etag_is", "generation_is"})
"""A delete with one of these that was told a generation which it did not find has made it."""


def settle(known: Known) -> None:
    """Say of each generation who made it, as far as that is known, and which writes are left over."""
    for attempts in known.attempts.values():
        _settle_write(known, attempts)
    _settle_tombstones(known)
    _settle_by_content(known)
    _settle_visited(known)
    _settle_amended(known)


def _settle_write(known: Known, attempts: list[Operation]) -> None:
    """All operations with one write id: a write, and clients' later retries of it."""
    first = min(attempts, key=lambda operation: operation.invoke_us)
    answered = [operation for operation in attempts if operation.outcome == "ok" and operation.generation is not None]
    if not answered:
        known.spare.append(first)
    elif first.kind in MAKES_A_VERSION or first.kind == "tag":
        _settle_made(known, first, answered)
    else:
        for operation in answered:
            _settle_delete(known, operation)


def _settle_delete(known: Known, operation: Operation) -> None:
    number = operation.generation
    assert number is not None
    generation = known.of(number)
    generation.seen(operation)
    if number == 0:
        return  # there was nothing to delete, ever
    if operation.of_version is not None:
        generation.visitors.append(operation)
        return
    known.show(number, content_of(operation), operation)
    if not _found_it_deleted(operation):
        generation.claimants.append(operation)


def _settle_made(known: Known, first: Operation, answered: list[Operation]) -> None:
    number = min(operation.generation or 0 for operation in answered)
    for operation in answered:
        assert operation.generation is not None
        generation = known.of(operation.generation)
        generation.told(operation)
        if operation.kind in MAKES_A_VERSION:
            known.show(operation.generation, content_of(operation), operation)
            _check_name(known, operation)
        if operation.generation != number:
            known.fault(
                "write-once",
                f"the write id {operation.write_id} was answered with generation {number}, "
                f"and in {operation.id} with generation {operation.generation}",
                *answered,
            )
            generation.begun = first
    generation = known.of(number)
    if generation.maker is not None:
        known.fault(
            "one-writer",
            f"two writes were both told that they made generation {number}: {generation.maker.id}, {first.id}",
            generation.maker,
            first,
        )
    generation.maker = generation.begun = first


def _check_name(known: Known, operation: Operation) -> None:
    """A version of its own is named by the generation that made it; any other write makes the null version."""
    version = operation.version or NULL_VERSION
    if version != (operation.generation if operation.versioned else NULL_VERSION):
        known.fault(
            "version-named",
            f"{operation.id} ({operation.kind}) made generation {operation.generation} and was told that this is "
            f"version {version or 'null'}",
            operation,
        )
    elif version:
        known.made_versions.setdefault(version, operation)


def _settle_tombstones(known: Known) -> None:
    """Who made each tombstone: the claimant with a precondition, as that held; else any of them may have."""
    unknown = min((each for each in known.spare if _may_delete(each)), key=_invoked_us, default=None)
    late: list[Operation] = []
    for number, generation in known.generations.items():
        claimants = sorted(generation.claimants, key=_invoked_us)
        if not claimants:
            continue
        if generation.maker is not None:
            known.fault(
                "one-writer",
                f"generation {number} was written by {generation.maker.id} and deleted by {claimants[0].id}",
                generation.maker,
                claimants[0],
            )
            continue
        certain = [operation for operation in claimants if operation.condition in HOLD_ON_OBJECTS_ONLY]
        if len({operation.write_id for operation in certain}) > 1:
            known.fault(
                "one-writer",
                f"two conditional deletes were both told that they made generation {number}: "
                f"{certain[0].id}, {certain[1].id}",
                *certain[:2],
            )
        others = [each for each in (unknown, *generation.visitors) if each is not None]
        if certain:
            generation.maker = generation.begun = certain[0]
        elif len(claimants) == 1 and not others:
            generation.maker = generation.begun = claimants[0]
        else:
            generation.begun = min((claimants[0], *others), key=_invoked_us)
        # A delete that found a tombstone leaves no record, so an attempt of it that was delayed may delete later.
        late += [operation for operation in claimants if operation is not generation.begun]
    known.spare += late


def _settle_by_content(known: Known) -> None:
    """Unknown puts whose bodies were read: the read tells which generation they made."""
    by_body: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in sorted(known.spare, key=_invoked_us, reverse=True):
        if operation.kind == "put" and operation.sha256 is not None:
            by_body[operation.sha256].append(operation)
    unique = {sha256 for sha256, candidates in by_body.items() if len(candidates) == 1}
    copy = min((each for each in known.spare if each.kind == "copy"), key=_invoked_us, default=None)
    for number in sorted(known.generations):
        generation = known.generations[number]
        if generation.begun is not None or generation.deleted is not False or generation.sha256 is None:
            continue
        candidates = by_body.get(generation.sha256)
        if candidates and copy is not None:
            # that put may have made an earlier generation, of which this one is a copy: then both are needed yet
            generation.begun = min(candidates[-1], copy, key=_invoked_us)
        elif candidates:
            generation.begun = candidates.pop()
            generation.maker = generation.begun if generation.sha256 in unique else None
            known.spare.remove(generation.begun)
        elif not _shows_again(known, number, generation):
            _fault_unwritten_body(known, number, generation)


def _shows_again(known: Known, number: int, generation: Generation) -> bool:
    """Can this body, which was written before, be here as somebody copied it, tagged it, or deleted what was above?"""
    if generation.sha256 not in known.written:
        return False
    if generation.visitors:
        return True
    may = [each for each in known.spare if each.kind in ("copy", "tag") or each.of_version is not None]
    return any(each.kind == "copy" or number not in known.made_versions for each in may)


def _fault_unwritten_body(known: Known, number: int, generation: Generation) -> None:
    shown_by = generation.shown_by
    assert shown_by is not None
    generation.begun = shown_by  # so that it is reported once
    for other_number, other in known.generations.items():
        if other is not generation and other.sha256 == generation.sha256 and other.maker is not None:
            known.fault(
                "write-once",
                f"{shown_by.id} read the body of {other.maker.id} at generation {number}, "
                f"but that write made generation {other_number}",
                shown_by,
                other.maker,
            )
            return
    for failed in known.failed_puts:
        if failed.sha256 == generation.sha256:
            known.fault(
                "failed-without-effect",
                f"{shown_by.id} read the body of {failed.id} at generation {number}, but that write had failed "
                f"(status {failed.status})",
                shown_by,
                failed,
            )
            return
    known.fault(
        "written-bytes",
        f"{shown_by.id} read generation {number} with a body (sha256 {generation.sha256}) that no client wrote",
        shown_by,
    )


def _settle_visited(known: Known) -> None:
    """Generations that deletes of versions were told: one of those made it, or a write of which nobody knows."""
    earliest = min(known.spare, key=_invoked_us, default=None)
    late: list[Operation] = []
    for number, generation in known.generations.items():
        visitors = sorted(generation.visitors, key=_invoked_us)
        if not visitors:
            continue
        if generation.begun is None:
            candidates = [*visitors, *([earliest] if earliest is not None else [])]
            generation.begun = min(candidates, key=_invoked_us)
            if len(candidates) == 1 and number not in known.made_versions:
                generation.maker = visitors[0]
        # The null version may come back, and then a delayed attempt finds it.
        late += [each for each in visitors if each.of_version == NULL_VERSION and each is not generation.begun]
    known.spare += late


def _settle_amended(known: Known) -> None:
    """What tags were given to has the content that it had."""
    for number in sorted(known.generations):
        generation, before = known.generations[number], known.generations.get(number - 1)
        if before is None or generation.maker is None or generation.maker.kind != "tag":
            continue
        pairs = zip(Content._fields, before.content, generation.content, strict=True)
        for name, old, new in pairs:
            if old is not None and new is not None and old != new:
                known.fault(
                    "content-kept",
                    f"{generation.maker.id} (tag) made generation {number}, whose {name} is {new}; that of generation "
                    f"{number - 1} is {old}",
                    generation.maker,
                    *(each.shown_by for each in (before, generation) if each.shown_by is not None),
                )
                break
        else:
            known.show(number, before.content, before.shown_by or generation.maker)
            known.show(number - 1, generation.content, generation.shown_by or generation.maker)


# -- what nobody's answer explains


class _Demand(NamedTuple):
    """A generation that somebody must have made, until somebody was told it."""

    number: int
    deleted: bool | None
    told_us: int
    told_number: int
    told: Operation


def check_unmade(order: Order) -> None:
    """Generations without a known maker: enough unknown writes must be left over that began in time."""
    known = order.known
    demands = []
    for number in _unmade(order, len(known.spare) + 1):
        told_us, told_number, told = order.earliest_told[bisect_left(order.numbers, number)]
        assert told is not None
        demands.append(_Demand(number, _deleted(known, number), told_us, told_number, told))
    makes: dict[int, _Demand] = {}
    spare = sorted(known.spare, key=_invoked_us)
    for demand in demands:
        if not _matched(demand, spare, makes, set()):
            what = "something" if demand.deleted is None else "a tombstone" if demand.deleted else "an object"
            known.fault(
                "written-once",
                f"{demand.told.id} ({demand.told.kind}) was told generation {demand.told_number}, but no write can "
                f"have made generation {demand.number} ({what}) by then",
                demand.told,
            )
            return


def _matched(demand: _Demand, spare: list[Operation], makes: dict[int, _Demand], tried: set[int]) -> bool:
    """Give the demand a write, moving others to other writes if need be: a maximum matching, one augmenting path."""
    able = [at for at, write in enumerate(spare) if write.invoke_us <= demand.told_us and _may_make(write, demand)]
    for at in able:
        if at not in makes:
            makes[at] = demand
            return True
    for at in able:
        if at not in tried:
            tried.add(at)
            if _matched(makes[at], spare, makes, tried):
                makes[at] = demand
                return True
    return False


def _may_make(write: Operation, demand: _Demand) -> bool:
    if demand.deleted is None or (write.kind == "delete" and write.of_version is not None):
        return True
    return demand.deleted == _may_delete(write)


def _may_delete(write: Operation) -> bool:
    return write.kind in ("delete", "mark")


def _deleted(known: Known, number: int) -> bool | None:
    """Is this generation a tombstone? As it was shown, or as the write after it must have found it."""
    generation, following = known.generations.get(number), known.generations.get(number + 1)
    if generation is not None and generation.deleted is not None:
        return generation.deleted
    if following is not None and following.deleted and not known.has_versions:
        return False
    maker = following.maker if following is not None else None
    if maker is None or maker.of_version is not None:
        return None
    return {"absent": True, "exists": False, "etag_is": False}.get(maker.condition)


def _unmade(order: Order, limit: int) -> Iterator[int]:
    previous = 0
    left_out = order.known.forgotten.left_out
    for number in order.numbers[1:]:
        if number > previous + 1:
            yield from islice((each for each in range(previous + 1, number) if each not in left_out), limit)
        generation = order.known.generations[number]
        if generation.begun is None and generation.first_told is not None:
            yield number
        previous = number


def _invoked_us(operation: Operation) -> int:
    return operation.invoke_us


def _found_it_deleted(delete: Operation) -> bool:
    """It asked for what only a tombstone is, or just for this generation: it was told what it found."""
    return delete.condition == "absent" or (
        delete.condition == "generation_is" and delete.generation == delete.condition_generation
    )
