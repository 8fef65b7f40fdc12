"""What is known of each generation of a path: who was told it, and what it shows. Collecting only; no rule of order."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from checker.history.forgetting import NOTHING, Forgotten
from checker.operations import Operation
from checker.verdict import HistoryFault

PRECONDITION_FAILED: Final = 412
NEVER_WRITTEN: Final = 404
CONFLICT: Final = 409
NULL_VERSION: Final = 0
AFTER_ALL: Final = 1 << 62
MAKES_A_VERSION: Final = frozenset({"put", "copy", "mark"})


class Content(NamedTuple):
    """What an answer shows of a path, or of a version of it; None for what it does not say."""

    deleted: bool | None
    etag: str | None = None
    sha256: str | None = None


class Generation:
    """What is known of one generation of a path."""

    __slots__ = (
        "begun",
        "claimants",
        "deleted",
        "etag",
        "first_told",
        "last_asked",
        "maker",
        "sha256",
        "shown_by",
        "visitors",
    )

    def __init__(self) -> None:
        self.maker: Operation | None = None  # the write that made it, where only one can have done so
        self.begun: Operation | None = None  # of those who may have made it, who was invoked first
        self.claimants: list[Operation] = []  # deletes one of which made it
        self.visitors: list[Operation] = []  # deletes of a version, one of which may have made it
        self.first_told: Operation | None = None  # of all who were told it, who returned first
        self.last_asked: Operation | None = None  # of those who saw it as the current one, who was invoked last
        self.shown_by: Operation | None = None  # who says the following
        self.deleted: bool | None = None
        self.etag: str | None = None
        self.sha256: str | None = None

    @property
    def content(self) -> Content:
        return Content(self.deleted, self.etag, self.sha256)

    def told(self, operation: Operation) -> None:
        if self.first_told is None or returned_us(operation) < returned_us(self.first_told):
            self.first_told = operation

    def seen(self, operation: Operation) -> None:
        """The operation was told that this is the current generation."""
        self.told(operation)
        if self.last_asked is None or operation.invoke_us > self.last_asked.invoke_us:
            self.last_asked = operation


class Sighting(NamedTuple):
    """Somebody was told that a version is there, or is not, at some generation from `first` to `last`."""

    version: int
    is_there: bool
    first: int
    last: int
    operation: Operation


def returned_us(operation: Operation) -> int:
    return AFTER_ALL if operation.return_us is None else operation.return_us


class Known:
    """All that clients were told of one path. `written` are the digests of all bodies that clients wrote anywhere.

    attempts: by write id, without those that failed. spare: writes that may have made a generation, and it is not known
    which. currents: of each generation the version that was read as the current one, 0 for the null version.
    """

    def __init__(
        self,
        path: str,
        operations: Sequence[Operation],
        listed: Sequence[tuple[int, Operation]],
        written: frozenset[str],
        forgotten: Forgotten = NOTHING,
    ) -> None:
        self.path = path
        self.forgotten = forgotten
        self.written = written
        self.faults: list[HistoryFault] = []
        self.generations: dict[int, Generation] = {0: Generation()}
        self.refused: list[Operation] = []
        self.attempts: defaultdict[str, list[Operation]] = defaultdict(list)
        self.failed_puts: list[Operation] = []
        self.spare: list[Operation] = []
        self.sightings: list[Sighting] = []
        self.currents: dict[tuple[int, int | None], Operation] = {}
        self.version_deletes: defaultdict[int, list[Operation]] = defaultdict(list)
        self.made_versions: dict[int, Operation] = {}
        self.has_versions = any(each.kind == "mark" or each.of_version is not None for each in operations)
        for number, operation in listed:
            self.of(number).seen(operation)
        for operation in operations:
            self._sort(operation)

    def fault(self, rule: str, text: str, *operations: Operation) -> None:
        names = list(dict.fromkeys(operation.id for operation in operations))
        if not any(fault.rule == rule and fault.operations == names for fault in self.faults):
            self.faults.append(HistoryFault(key=self.path, rule=rule, text=text, operations=names))

    def of(self, number: int) -> Generation:
        found = self.generations.get(number)
        if found is None:
            found = self.generations[number] = Generation()
        return found

    def show(self, number: int, shown: Content, operation: Operation) -> None:
        """The operation's answer shows the content of the generation; it must be what everyone is shown."""
        generation = self.of(number)
        if generation.shown_by is None:
            generation.shown_by = operation
            generation.deleted, generation.etag, generation.sha256 = shown
            return
        known = generation.content
        if shown == known:
            return
        for name, mine, other in zip(Content._fields, shown, known, strict=True):
            if mine is not None and other is not None and mine != other:
                self.fault(
                    "one-content",
                    f"generation {number} is one thing to {operation.id} ({name} {mine}) "
                    f"and another to {generation.shown_by.id} ({name} {other})",
                    operation,
                    generation.shown_by,
                )
                return
        generation.deleted = shown.deleted if generation.deleted is None else generation.deleted
        generation.etag = generation.etag or shown.etag
        generation.sha256 = generation.sha256 or shown.sha256

    def show_version(self, version: int, shown: Content, operation: Operation) -> None:
        """A version is what was current at the generation that it is named by. The null version has no name."""
        if version == NULL_VERSION:
            return
        self.made_versions.setdefault(version, operation)
        self.of(version).told(operation)
        self.show(version, shown, operation)

    def _sort(self, operation: Operation) -> None:
        if operation.kind == "get":
            if operation.outcome == "ok" and operation.generation is not None:
                self._read(operation, operation.generation)
            return
        if operation.of_version is not None and operation.outcome != "failed":
            self.version_deletes[operation.of_version].append(operation)
        if operation.outcome != "failed":
            self.attempts[operation.write_id or operation.id].append(operation)
        elif operation.status == PRECONDITION_FAILED or _is_other_generation(operation) or _found_nothing(operation):
            self.refused.append(operation)
        if operation.outcome == "failed" and operation.kind == "put":
            self.failed_puts.append(operation)

    def _read(self, operation: Operation, number: int) -> None:
        self.of(number).seen(operation)
        content = content_of(operation)
        if operation.of_version is None:
            if number > 0:
                self.show(number, content, operation)
            if self.has_versions or operation.version:
                self.currents.setdefault((number, operation.version), operation)
            if operation.version:
                self.sightings.append(Sighting(operation.version, True, number, number, operation))
                self.show_version(operation.version, content, operation)
        elif operation.of_version != NULL_VERSION:
            is_there = operation.version is not None
            self.sightings.append(Sighting(operation.of_version, is_there, number, number, operation))
            if is_there:
                self.show_version(operation.of_version, content, operation)


def content_of(operation: Operation) -> Content:
    return Content(operation.deleted, operation.etag, operation.sha256)


def _is_other_generation(operation: Operation) -> bool:
    return operation.condition == "generation_is" and operation.status == CONFLICT


def _found_nothing(operation: Operation) -> bool:
    """Was it refused as there is nothing at its path? A copy may have found nothing at its source."""
    return operation.status == NEVER_WRITTEN and operation.kind != "copy"
