"""Delta debugging: the smallest part of a list that still fails. Pure: the test is given.

Source: A. Zeller and R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE Transactions on Software
Engineering 28(2), 2002 (algorithm ddmin).
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def ddmin(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """A part of `items`, in their order, that fails although none of its items can be left out alone (1-minimal).

    `items` as a whole are taken to fail. Whatever `fails` says of one part it must say of it again; to stop early, let
    it say no to everything, and what has been found so far is returned.
    """
    kept = tuple(items)
    if kept and fails(()):
        return ()
    chunks = 2
    while len(kept) >= 2:
        parts = _split(kept, chunks)
        smaller = next((part for part in parts if fails(part)), None)
        if smaller is not None:
            kept, chunks = smaller, 2
            continue
        without = next((rest for rest in _complements(parts) if fails(rest)), None)
        if without is not None:
            kept, chunks = without, max(chunks - 1, 2)
            continue
        if chunks >= len(kept):
            break
        chunks = min(2 * chunks, len(kept))
    return kept


def _split(items: tuple[Item, ...], chunks: int) -> list[tuple[Item, ...]]:
    """So many parts, whose lengths differ by one at most."""
    bounds = [len(items) * at // chunks for at in range(chunks + 1)]
    return [items[first:end] for first, end in itertools.pairwise(bounds)]


def _complements(parts: Sequence[tuple[Item, ...]]) -> list[tuple[Item, ...]]:
    """Everything but one of the parts, for each of them; the last part goes first, as what comes late is often idle."""
    return [
        tuple(item for other, part in enumerate(parts) if other != left_out for item in part)
        for left_out in reversed(range(len(parts)))
    ]
