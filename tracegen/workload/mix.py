"""Which operation comes next: drawn from a scenario's weights, or the next of its list. Pure: a generator in, an
intention out."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tracegen.operations import Listed
from tracegen.scenario import Workload


@dataclass(frozen=True)
class Intention:
    """What a client wants to do; `kind` is a word of the scenario's mix.

    `listed` is the line that says so, where operations are listed: it then says everything.
    """

    kind: str
    path: str
    size_bytes: int
    is_hot: bool
    roams: bool
    think_s: float
    listed: Listed | None = None


class Source(Protocol):
    """Where a client's intentions come from; None when there are no more."""

    def next(self) -> Intention | None: ...


class Mix:
    """Draws intentions for one client. All clients of a run share the keys."""

    def __init__(self, workload: Workload, keys: Sequence[str], draw: random.Random) -> None:
        self._workload = workload
        self._draw = draw
        self._keys = keys
        self._kinds = tuple(workload.mix)
        self._kind_weights = tuple(itertools.accumulate(workload.mix.values()))
        self._size_weights = tuple(itertools.accumulate(size.weight for size in workload.sizes))

    def next(self) -> Intention:
        draw, workload = self._draw, self._workload
        is_hot = draw.random() < workload.hot_share
        at = draw.randrange(workload.hot_keys) if is_hot and workload.hot_keys else draw.randrange(workload.keys)
        (size,) = draw.choices(workload.sizes, cum_weights=self._size_weights)
        (kind,) = draw.choices(self._kinds, cum_weights=self._kind_weights)
        return Intention(
            kind=kind,
            path=self._keys[at],
            size_bytes=draw.randint(size.min_bytes, size.max_bytes),
            is_hot=at < workload.hot_keys,
            roams=draw.random() < workload.roam,
            think_s=draw.expovariate(1000 / workload.think_ms) if workload.think_ms else 0.0,
        )


class Script:
    """Intends what is listed, in its order."""

    def __init__(self, operations: Sequence[Listed], prefix: str) -> None:
        self._left = iter(operations)
        self._prefix = prefix

    def next(self) -> Intention | None:
        listed = next(self._left, None)
        if listed is None:
            return None
        return Intention(
            kind=listed.kind,
            path=self._prefix + listed.key,
            size_bytes=listed.size_bytes,
            is_hot=False,
            roams=False,
            think_s=0.0,
            listed=listed,
        )
