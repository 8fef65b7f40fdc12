"""Judges clients' histories: is each path linearizable, as a register whose every write makes one generation?

Because answers carry generations, this is a sort and no search. Let e(g) be the instant at which generation g took
effect. Whoever was told g had returned after e(g); whoever was told less than g had been invoked before it; so was the
write that made it. There are such instants, in order, if and only if for each g

    the latest invoke of all who were told less than g, and of the writes that made g and what is below it
    is not after
    the earliest return of all who were told g or more.

Each generation is made by one write. Who made one is known from its answer; where the answer was lost, from the body
that readers saw; where nobody saw it, some write whose outcome is unknown must be left over for it. Beside that: a
generation has one content, a write id makes one generation, and preconditions hold on the generation before, or, for
a refusal, fail on some generation that may have been current while it was being decided.

A delete of what is already deleted answers with the tombstone it found, so a tombstone may have several claimants.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from checker.operations import Operation, read_operations
from checker.verdict import HistoryFault

FAULTS_A_PATH_MAX: Final = 8
PRECONDITION_FAILED: Final = 412
NEVER_WRITTEN: Final = 404
CONFLICT: Final = 409
LIST_PAGE: Final = 1000  # a list this long may have ended before the last path
LAST_LOOK: Final = "final-"  # the clients that read everything when all is healed
_AFTER_ALL: Final = 1 << 62
HOLD_ON_OBJECTS_ONLY: Final = frozenset({"exists", "etag_is", "generation_is"})
"""A delete with one of these that was told a generation which it did not find has made it."""


def check(run: Path) -> list[HistoryFault]:
    """Judge a run's history.ndjson; an empty list says that every path is linearizable. Raises CannotCheck."""
    return check_operations(read_operations(run))


def check_operations(operations: Iterable[Operation]) -> list[HistoryFault]:
    """Judge operations in any order."""
    by_path: defaultdict[str, list[Operation]] = defaultdict(list)
    lists: list[Operation] = []
    for operation in operations:
        if operation.kind == "list":
            lists.append(operation)
        else:
            by_path[operation.path].append(operation)
    listed = _by_path(lists, by_path)
    faults: list[HistoryFault] = []
    for path in sorted(by_path.keys() | listed.keys()):
        faults += _Path(path, by_path.get(path, ()), listed.get(path, ())).check()[:FAULTS_A_PATH_MAX]
    return faults


def _by_path(lists: Sequence[Operation], written: Iterable[str]) -> dict[str, list[tuple[int, Operation]]]:
    """What each list says of each path: its generation, or 0 if the list should have it and does not."""
    paths = sorted(set(written).union(path for each in lists for path, _ in each.paths or ()), key=str.encode)
    keys = [path.encode() for path in paths]
    says: dict[str, list[tuple[int, Operation]]] = {path: [] for path in paths}
    for each in lists:
        if each.outcome != "ok" or each.paths is None:
            continue
        there = dict(each.paths)
        first, end = bisect_left(keys, each.path.encode()), len(paths)
        if len(each.paths) >= LIST_PAGE:
            end = bisect_right(keys, each.paths[-1][0].encode())
        for path in paths[first:end]:
            if not path.startswith(each.path):
                break
            says[path].append((there.get(path, 0), each))
    return {path: said for path, said in says.items() if said}


class _Generation:
    """What is known of one generation of a path."""

    __slots__ = ("begun", "claimants", "deleted", "etag", "first_told", "last_asked", "maker", "sha256", "shown_by")

    def __init__(self) -> None:
        self.maker: Operation | None = None  # the write that made it, where only one can have done so
        self.begun: Operation | None = None  # of those who may have made it, who was invoked first
        self.claimants: list[Operation] = []  # deletes one of which made it
        self.first_told: Operation | None = None  # of all who were told it, who returned first
        self.last_asked: Operation | None = None  # of those who saw it as the current one, who was invoked last
        self.shown_by: Operation | None = None  # who says the following
        self.deleted: bool | None = None
        self.etag: str | None = None
        self.sha256: str | None = None

    def told(self, operation: Operation) -> None:
        if self.first_told is None or _return(operation) < _return(self.first_told):
            self.first_told = operation

    def seen(self, operation: Operation) -> None:
        """The operation was told that this is the current generation."""
        self.told(operation)
        if self.last_asked is None or operation.invoke_us > self.last_asked.invoke_us:
            self.last_asked = operation


def _return(operation: Operation) -> int:
    return _AFTER_ALL if operation.return_us is None else operation.return_us


class _Path:
    """The check of one path, rule by rule."""

    def __init__(self, path: str, operations: Sequence[Operation], listed: Sequence[tuple[int, Operation]]) -> None:
        self._path = path
        self._faults: list[HistoryFault] = []
        self._generations: dict[int, _Generation] = {0: _Generation()}
        self._refused: list[Operation] = []
        self._attempts: defaultdict[str, list[Operation]] = defaultdict(list)  # by write id; not those that failed
        self._failed_puts: list[Operation] = []
        self._spare_puts: list[Operation] = []  # may have made a generation, and it is not known which
        self._spare_deletes: list[Operation] = []
        for number, operation in listed:
            self._of(number).seen(operation)
        for operation in operations:
            self._sort(operation)

    def check(self) -> list[HistoryFault]:
        for attempts in self._attempts.values():
            self._settle_write(attempts)
        self._settle_tombstones()
        self._settle_by_content()
        self._known = sorted(self._generations)
        self._earliest_told = self._suffix_minimum()
        self._latest_asked = self._check_order()
        self._check_unmade()
        self._check_preconditions()
        self._check_refusals()
        return self._faults

    def _fault(self, rule: str, text: str, *operations: Operation) -> None:
        names = list(dict.fromkeys(operation.id for operation in operations))
        if not any(fault.rule == rule and fault.operations == names for fault in self._faults):
            self._faults.append(HistoryFault(key=self._path, rule=rule, text=text, operations=names))

    # -- collecting ---------------------------------------------------------------------------------------------------

    def _of(self, number: int) -> _Generation:
        found = self._generations.get(number)
        if found is None:
            found = self._generations[number] = _Generation()
        return found

    def _sort(self, operation: Operation) -> None:
        if operation.kind == "get":
            if operation.outcome == "ok" and operation.generation is not None:
                generation = self._of(operation.generation)
                generation.seen(operation)
                if operation.generation > 0:
                    self._show(operation.generation, generation, operation)
        elif operation.outcome != "failed":
            self._attempts[operation.write_id or operation.id].append(operation)
        elif operation.status in (PRECONDITION_FAILED, NEVER_WRITTEN) or _is_other_generation(operation):
            self._refused.append(operation)
        if operation.outcome == "failed" and operation.kind == "put":
            self._failed_puts.append(operation)

    def _show(self, number: int, generation: _Generation, operation: Operation) -> None:
        """The operation's answer shows the content of the generation; it must be what everyone is shown."""
        shown = (operation.deleted, operation.etag, operation.sha256)
        if generation.shown_by is None:
            generation.shown_by = operation
            generation.deleted, generation.etag, generation.sha256 = shown
            return
        known = (generation.deleted, generation.etag, generation.sha256)
        if shown == known:
            return
        for name, mine, other in zip(("deleted", "etag", "sha256"), shown, known, strict=True):
            if mine is not None and other is not None and mine != other:
                self._fault(
                    "one-content",
                    f"generation {number} is one thing to {operation.id} ({name} {mine}) "
                    f"and another to {generation.shown_by.id} ({name} {other})",
                    operation,
                    generation.shown_by,
                )
                return
        generation.etag = generation.etag or operation.etag
        generation.sha256 = generation.sha256 or operation.sha256

    # -- who made what ------------------------------------------------------------------------------------------------

    def _settle_write(self, attempts: list[Operation]) -> None:
        """All operations with one write id: a write, and clients' later retries of it."""
        first = min(attempts, key=lambda operation: operation.invoke_us)
        answered = [operation for operation in attempts if operation.outcome == "ok" and operation.generation]
        if not answered:
            (self._spare_puts if first.kind == "put" else self._spare_deletes).append(first)
        elif first.kind == "put":
            self._settle_put(first, answered)
        else:
            for operation in answered:
                assert operation.generation is not None
                generation = self._of(operation.generation)
                generation.seen(operation)
                self._show(operation.generation, generation, operation)
                if not _found_it_deleted(operation):
                    generation.claimants.append(operation)

    def _settle_put(self, first: Operation, answered: list[Operation]) -> None:
        number = min(operation.generation or 0 for operation in answered)
        for operation in answered:
            assert operation.generation is not None
            generation = self._of(operation.generation)
            generation.told(operation)
            self._show(operation.generation, generation, operation)
            if operation.generation != number:
                self._fault(
                    "write-once",
                    f"the write id {operation.write_id} was answered with generation {number}, "
                    f"and in {operation.id} with generation {operation.generation}",
                    *answered,
                )
                generation.begun = first
        generation = self._of(number)
        if generation.maker is not None:
            self._fault(
                "one-writer",
                f"two writes were both told that they made generation {number}: {generation.maker.id}, {first.id}",
                generation.maker,
                first,
            )
        generation.maker = generation.begun = first

    def _settle_tombstones(self) -> None:
        """Who made each tombstone: the claimant with a precondition, as that held; else any of them may have."""
        unknown = min(self._spare_deletes, key=lambda operation: operation.invoke_us, default=None)
        late: list[Operation] = []
        for number, generation in self._generations.items():
            claimants = sorted(generation.claimants, key=lambda operation: operation.invoke_us)
            if not claimants:
                continue
            if generation.maker is not None:
                self._fault(
                    "one-writer",
                    f"generation {number} was written by {generation.maker.id} and deleted by {claimants[0].id}",
                    generation.maker,
                    claimants[0],
                )
                continue
            certain = [operation for operation in claimants if operation.condition in HOLD_ON_OBJECTS_ONLY]
            if len({operation.write_id for operation in certain}) > 1:
                self._fault(
                    "one-writer",
                    f"two conditional deletes were both told that they made generation {number}: "
                    f"{certain[0].id}, {certain[1].id}",
                    *certain[:2],
                )
            if certain:
                generation.maker = generation.begun = certain[0]
            elif len(claimants) == 1 and unknown is None:
                generation.maker = generation.begun = claimants[0]
            elif unknown is not None and unknown.invoke_us < claimants[0].invoke_us:
                generation.begun = unknown
            else:
                generation.begun = claimants[0]
            # A delete that found a tombstone leaves no record, so an attempt of it that was delayed may delete later.
            late += [operation for operation in claimants if operation is not generation.begun]
        self._spare_deletes += late

    def _settle_by_content(self) -> None:
        """Unknown puts whose bodies were read: the read tells which generation they made."""
        by_body: defaultdict[str, list[Operation]] = defaultdict(list)
        for operation in sorted(self._spare_puts, key=lambda operation: operation.invoke_us, reverse=True):
            if operation.sha256 is not None:
                by_body[operation.sha256].append(operation)
        unique = {sha256 for sha256, candidates in by_body.items() if len(candidates) == 1}
        for number in sorted(self._generations):
            generation = self._generations[number]
            if generation.begun is not None or generation.deleted is not False or generation.sha256 is None:
                continue
            if candidates := by_body.get(generation.sha256):
                generation.begun = candidates.pop()
                generation.maker = generation.begun if generation.sha256 in unique else None
                self._spare_puts.remove(generation.begun)
            else:
                self._fault_unwritten_body(number, generation)

    def _fault_unwritten_body(self, number: int, generation: _Generation) -> None:
        shown_by = generation.shown_by
        assert shown_by is not None
        generation.begun = shown_by  # so that it is reported once
        for other_number, other in self._generations.items():
            if other is not generation and other.sha256 == generation.sha256 and other.maker is not None:
                self._fault(
                    "write-once",
                    f"{shown_by.id} read the body of {other.maker.id} at generation {number}, "
                    f"but that write made generation {other_number}",
                    shown_by,
                    other.maker,
                )
                return
        for failed in self._failed_puts:
            if failed.sha256 == generation.sha256:
                self._fault(
                    "failed-without-effect",
                    f"{shown_by.id} read the body of {failed.id} at generation {number}, but that write had failed "
                    f"(status {failed.status})",
                    shown_by,
                    failed,
                )
                return
        self._fault(
            "written-bytes",
            f"{shown_by.id} read generation {number} with a body (sha256 {generation.sha256}) that no client wrote",
            shown_by,
        )

    # -- order --------------------------------------------------------------------------------------------------------

    def _suffix_minimum(self) -> list[tuple[int, int, Operation | None]]:
        """For each known generation: the earliest return of all who were told it or more (when, what, who)."""
        earliest: tuple[int, int, Operation | None] = (_AFTER_ALL, 0, None)
        found = [earliest] * len(self._known)
        for at in range(len(self._known) - 1, -1, -1):
            number = self._known[at]
            first_told = self._generations[number].first_told
            if first_told is not None and _return(first_told) < earliest[0]:
                earliest = (_return(first_told), number, first_told)
            found[at] = earliest
        return found

    def _check_order(self) -> list[int]:
        """Check the inequality of the module's docstring; returns its left side for each known generation."""
        latest: Operation | None = None
        latest_us, latest_number, latest_made = -1, 0, False
        found: list[int] = []
        for at, number in enumerate(self._known):
            generation = self._generations[number]
            begun, asked = generation.begun, generation.last_asked
            if number > 0 and begun is not None and begun.is_write and begun.invoke_us > latest_us:
                latest_us, latest, latest_number, latest_made = begun.invoke_us, begun, number, True
            found.append(latest_us)
            told_us, told_number, told = self._earliest_told[at]
            if number > 0 and latest is not None and told is not None and told_us < latest_us:
                self._fault_order(latest, latest_number, latest_made, told, told_number)
            if asked is not None and asked.invoke_us > latest_us:
                latest_us, latest, latest_number, latest_made = asked.invoke_us, asked, number, False
        return found

    def _fault_order(self, late: Operation, number: int, made: bool, early: Operation, early_number: int) -> None:
        before = (
            f"{early.id} ({early.kind}) had been told generation {early_number} before {late.id} ({late.kind}) began"
        )
        if made and number == early_number:
            self._fault("no-future", f"{before}, which is the write that made it", early, late)
        elif made:
            self._fault("write-order", f"{before}, which then made generation {number}", early, late)
        elif late.client.startswith(LAST_LOOK):
            self._fault("nothing-lost", f"{before}, which found generation {number} when all was healed", early, late)
        else:
            self._fault("real-time", f"{before}, which was told generation {number}", early, late)

    # -- what nobody's answer explains --------------------------------------------------------------------------------

    def _check_unmade(self) -> None:
        """Generations without a known maker: enough unknown writes must be left over that began in time."""
        puts = sorted(operation.invoke_us for operation in self._spare_puts)
        deletes = sorted(operation.invoke_us for operation in self._spare_deletes)
        unmade = [(number, self._deleted(number)) for number in self._unmade(len(puts) + len(deletes) + 1)]
        # First those that only one kind of write can have made, each by the latest that began in time: a write that
        # began early enough for one generation did so for every later one, so this leaves the most to choose from.
        for number, deleted in sorted(unmade, key=lambda pair: pair[1] is None):
            told_us, told_number, told = self._earliest_told[bisect_left(self._known, number)]
            assert told is not None
            pools = [puts, deletes] if deleted is None else [deletes] if deleted else [puts]
            if not any(_take_latest(pool, told_us) for pool in pools):
                what = "something" if deleted is None else "a tombstone" if deleted else "an object"
                self._fault(
                    "written-once",
                    f"{told.id} ({told.kind}) was told generation {told_number}, but no write can have made "
                    f"generation {number} ({what}) by then",
                    told,
                )
                return

    def _deleted(self, number: int) -> bool | None:
        """Is this generation a tombstone? As it was shown, or as the write after it must have found it."""
        generation, following = self._generations.get(number), self._generations.get(number + 1)
        if generation is not None and generation.deleted is not None:
            return generation.deleted
        if following is not None and following.deleted:
            return False
        condition = following.maker.condition if following is not None and following.maker is not None else "none"
        return {"absent": True, "exists": False, "etag_is": False}.get(condition)

    def _unmade(self, limit: int) -> Iterator[int]:
        previous = 0
        for number in self._known[1:]:
            yield from range(previous + 1, min(number, previous + 1 + limit))
            generation = self._generations[number]
            if generation.begun is None and generation.first_told is not None:
                yield number
            previous = number

    # -- preconditions ------------------------------------------------------------------------------------------------

    def _check_preconditions(self) -> None:
        for number in self._known[1:]:
            generation = self._generations[number]
            before = self._generations.get(number - 1)
            if before is None:
                continue
            was_live = False if number == 1 else None if before.deleted is None else not before.deleted
            if generation.deleted and was_live is False:
                self._fault_precondition(number, "deleted what was not there", before)
            maker = generation.maker
            if maker is None:
                continue
            if maker.condition == "absent" and was_live:
                self._fault_precondition(number, "asked for absence", before)
            elif maker.condition == "exists" and was_live is False:
                self._fault_precondition(number, "asked for presence", before)
            elif maker.condition == "etag_is" and not _may_have_etag(was_live, before, maker.condition_etag):
                self._fault_precondition(number, f"asked for etag {maker.condition_etag}", before)
            elif maker.condition == "etag_is_not" and was_live and before.etag == maker.condition_etag:
                self._fault_precondition(number, f"asked for another etag than {maker.condition_etag}", before)
            elif maker.condition == "generation_is" and maker.condition_generation != number - 1:
                self._fault_precondition(number, f"asked for generation {maker.condition_generation}", before)

    def _fault_precondition(self, number: int, asked: str, before: _Generation) -> None:
        generation = self._generations[number]
        maker = generation.maker or generation.begun or generation.first_told
        assert maker is not None
        if number == 1:
            found = "nothing was ever written"
        else:
            found = f"generation {number - 1} is " + (
                "a tombstone" if before.deleted else f"there with etag {before.etag}"
            )
        others = [before.shown_by] if before.shown_by is not None else []
        self._fault(
            "precondition",
            f"{maker.id} ({maker.kind}) made generation {number} and {asked}, but {found}",
            maker,
            *others,
        )

    def _check_refusals(self) -> None:
        """A refusal is an answer too: some generation that may have been current meanwhile must justify it."""
        told = [told_us for told_us, _, _ in self._earliest_told]
        for operation in self._refused:
            # From the newest generation that certainly took effect before it began to the newest that may have before
            # it ended: one of these it must have found.
            first = max(bisect_left(told, operation.invoke_us) - 1, 0)
            last = bisect_right(self._latest_asked, _return(operation)) - 1
            if not any(self._justifies(at, operation) for at in range(first, max(first, last) + 1)):
                number = self._known[first]
                shown_by = self._generations[number].shown_by
                self._fault(
                    "refused-rightly",
                    f"{operation.id} ({operation.kind}, condition {operation.condition}) was refused with status "
                    f"{operation.status}, but generation {number} satisfied it all the while",
                    operation,
                    *([shown_by] if shown_by is not None else []),
                )

    def _justifies(self, at: int, operation: Operation) -> bool:
        number = self._known[at]
        following = self._known[at + 1] if at + 1 < len(self._known) else None
        if following is None:
            spare = [*self._spare_puts, *self._spare_deletes]
            if any(write.invoke_us <= _return(operation) for write in spare):
                return True  # it may have made a generation that nobody saw
        elif following != number + 1:
            return True  # nothing is known of the generations between
        generation = self._generations[number]
        was_live = False if number == 0 else None if generation.deleted is None else not generation.deleted
        if operation.status == NEVER_WRITTEN:
            return number == 0
        match operation.condition:
            case "absent":
                return was_live is not False
            case "exists":
                return was_live is not True
            case "etag_is":
                return was_live is not True or generation.etag is None or generation.etag != operation.condition_etag
            case "etag_is_not":
                return was_live is not False and generation.etag in (None, operation.condition_etag)
            case "generation_is":
                return number != operation.condition_generation
            case _:
                return True


def _take_latest(invokes_us: list[int], until_us: int) -> bool:
    """Remove the latest of these sorted times that is not after `until_us`; False if there is none."""
    at = bisect_right(invokes_us, until_us) - 1
    if at >= 0:
        del invokes_us[at]
    return at >= 0


def _found_it_deleted(delete: Operation) -> bool:
    """It asked for what only a tombstone is, or just for this generation: it was told what it found."""
    return delete.condition == "absent" or (
        delete.condition == "generation_is" and delete.generation == delete.condition_generation
    )


def _is_other_generation(operation: Operation) -> bool:
    return operation.condition == "generation_is" and operation.status == CONFLICT


def _may_have_etag(was_live: bool | None, generation: _Generation, etag: str | None) -> bool:
    return was_live is not False and (generation.etag is None or generation.etag == etag)
