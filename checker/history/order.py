"""Real time: the inequality of the room's docstring, and which generations an operation may have found."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Final

from checker.history.generations import AFTER_ALL, Generation, Known, returned_us
from checker.operations import Operation

LAST_LOOK: Final = "final-"
"""The clients that read everything when all is healed."""
Told = tuple[int, int, Operation | None]


class Order:
    """The generations of a path in their order. Makers are settled.

    earliest_told: for each known generation, the earliest return of all who were told it or more (when, what, who).
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.numbers = sorted(known.generations)
        self.earliest_told: list[Told] = self._suffix_minimum()
        self._told_us = [told_us for told_us, _, _ in self.earliest_told]
        self._latest_asked: list[int] = []

    def check(self) -> None:
        """Check the inequality; its left side is kept for each known generation."""
        generations = self.known.generations
        latest: Operation | None = None
        latest_us, latest_number, latest_made = -1, 0, False
        for at, number in enumerate(self.numbers):
            generation = generations[number]
            begun, asked = generation.begun, generation.last_asked
            if number > 0 and begun is not None and begun.is_write and begun.invoke_us > latest_us:
                latest_us, latest, latest_number, latest_made = begun.invoke_us, begun, number, True
            self._latest_asked.append(latest_us)
            told_us, told_number, told = self.earliest_told[at]
            if number > 0 and latest is not None and told is not None and told_us < latest_us:
                self._fault(latest, latest_number, latest_made, told, told_number)
            if asked is not None and asked.invoke_us > latest_us:
                latest_us, latest, latest_number, latest_made = asked.invoke_us, asked, number, False

    def window(self, operation: Operation) -> tuple[int, int]:
        """The places of the generations that the operation may have found, the first and the last.

        From the newest that certainly took effect before it began to the newest that may have before it ended.
        """
        first = max(bisect_left(self._told_us, operation.invoke_us) - 1, 0)
        last = bisect_right(self._latest_asked, returned_us(operation)) - 1
        return first, max(first, last)

    def may_have_found(self, operation: Operation, holds: Callable[[int, Generation], bool]) -> bool:
        """May it have found a generation of which this holds? Yes, where it may have found one that nobody knows."""
        first, last = self.window(operation)
        return any(
            self._has_unknown_after(at, operation) or holds(self.numbers[at], self.known.generations[self.numbers[at]])
            for at in range(first, last + 1)
        )

    def newest_in(self, operation: Operation) -> int:
        """The newest generation that may have been there before the operation ended, if only its number is known."""
        _, last = self.window(operation)
        if last + 1 < len(self.numbers):
            return self.numbers[last + 1] - 1
        return AFTER_ALL if self._has_unknown_after(last, operation) else self.numbers[last]

    def _has_unknown_after(self, at: int, operation: Operation) -> bool:
        """May there have been a generation after this one of which nobody was told anything?"""
        if at + 1 < len(self.numbers):
            return self.numbers[at + 1] != self.numbers[at] + 1
        return any(write.invoke_us <= returned_us(operation) for write in self.known.spare)

    def _suffix_minimum(self) -> list[Told]:
        earliest: Told = (AFTER_ALL, 0, None)
        found = [earliest] * len(self.numbers)
        for at in range(len(self.numbers) - 1, -1, -1):
            number = self.numbers[at]
            first_told = self.known.generations[number].first_told
            if first_told is not None and returned_us(first_told) < earliest[0]:
                earliest = (returned_us(first_told), number, first_told)
            found[at] = earliest
        return found

    def _fault(self, late: Operation, number: int, made: bool, early: Operation, early_number: int) -> None:
        fault = self.known.fault
        before = (
            f"{early.id} ({early.kind}) had been told generation {early_number} before {late.id} ({late.kind}) began"
        )
        if made and number == early_number:
            fault("no-future", f"{before}, which is the write that made it", early, late)
        elif made:
            fault("write-order", f"{before}, which then made generation {number}", early, late)
        elif late.client.startswith(LAST_LOOK):
            fault("nothing-lost", f"{before}, which found generation {number} when all was healed", early, late)
        else:
            fault("real-time", f"{before}, which was told generation {number}", early, late)
