"""Splits an ordered run by its keys: each key's events are a behaviour of its own, so cost grows with the run only."""

from array import array
from collections.abc import Callable, Iterable

import msgspec
import xxhash

from checker.errors import CannotCheck
from checker.load import EVERY_KEY, NO_KEY, Traces


def by_key(traces: Traces, order: Iterable[int]) -> list["array[int]"]:
    """For each key (its number is the place in `traces.keys`), its events' indices in the given order.

    An event of every key is in all behaviours, or in those of the slots that it names. Raises CannotCheck if it does
    not say which.
    """
    behaviours = [array("l") for _ in traces.keys]
    appends = [behaviour.append for behaviour in behaviours]
    keys = traces.key
    for index in order:
        key = keys[index]
        if key >= 0:
            appends[key](index)
        elif key == EVERY_KEY:
            for append in _concerned(traces, index, appends):
                append(index)
        else:
            assert key == NO_KEY
    return behaviours


def _concerned(traces: Traces, index: int, appends: list[Callable[[int], None]]) -> Iterable[Callable[[int], None]]:
    """Those of the keys' behaviours that an event of every key belongs to."""
    fields = traces.everywhere[traces.kinds[traces.kind[index]]]
    record = msgspec.json.decode(traces.line(index))
    slots, total = record.get(fields.slots), record.get(fields.total)
    if slots is None:
        return appends
    if not isinstance(slots, list) or not isinstance(total, int) or total < 1:
        raise CannotCheck(f"{traces.place(index)}: {fields.slots} is {slots!r} of {fields.total} {total!r}")
    wanted = frozenset(slots)
    return [append for key, append in zip(traces.keys, appends, strict=True) if slot_of(key, total) in wanted]


def slot_of(key: str, total: int) -> int:
    """The slot of a key among so many."""
    return xxhash.xxh3_64_intdigest(key.encode()) % total
