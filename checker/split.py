"""Splits an ordered run by its keys: each key's events are a behaviour of its own, so cost grows with the run only."""

from array import array
from collections.abc import Iterable

from checker.load import NO_KEY, Traces


def by_key(traces: Traces, order: Iterable[int]) -> list["array[int]"]:
    """For each key (its number is the place in `traces.keys`), its events' indices in the given order."""
    behaviours = [array("l") for _ in traces.keys]
    appends = [behaviour.append for behaviour in behaviours]
    keys = traces.key
    for index in order:
        key = keys[index]
        if key != NO_KEY:
            appends[key](index)
    return behaviours
