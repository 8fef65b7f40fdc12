"""Which scenario comes next: drawn afresh, or a variation of one whose run did what few others did.

As in fuzzing (M. Böhme et al., Coverage-based Greybox Fuzzing as Markov Chain, 2016): a run is worth varying while it
reaches what few runs reach, and a way of varying is worth using while it finds what is new. Deterministic: the same
seeds and the same answers make the same scenarios.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tracegen.guide.vary import VARIATIONS, Variation
from tracegen.scenario import Scenario
from tracegen.watch.reached import Reached

Draw = Callable[[int], Scenario]

FRESH_SHARE: Final = 0.15
FRESH_FIRST: Final = 8
KEPT_MAX: Final = 64
CHAIN_MAX: Final = 3


@dataclass
class Known:
    """A scenario that reached something new, how rare what it reached is, and how often it was varied."""

    scenario: Scenario
    tuples: frozenset[Reached]
    varied: int = 0


class Guide:
    """Ask `next` for a scenario, run it, and `tell` what it reached."""

    def __init__(self, draw: Draw, name: str = "guide") -> None:
        self._draw = draw
        self._chance = random.Random(f"{name}/guide")
        self._known: list[Known] = []
        self._counts: Counter[Reached] = Counter()
        self._tries: Counter[Variation] = Counter()
        self._gains: Counter[Variation] = Counter()
        self._used: dict[int, tuple[Variation, ...]] = {}

    @property
    def reached(self) -> frozenset[Reached]:
        return frozenset(self._counts)

    def next(self, seed: int) -> Scenario:
        """What the run with this seed does."""
        if len(self._used) < FRESH_FIRST or not self._known or self._chance.random() < FRESH_SHARE:
            self._used[seed] = ()
            return self._draw(seed)
        known = self._chance.choices(self._known, [self._worth(each) for each in self._known])[0]
        known.varied += 1
        ways = tuple(
            self._chance.choices(VARIATIONS, [self._promise(way) for way in VARIATIONS])[0]
            for _ in range(self._chance.randint(1, CHAIN_MAX))
        )
        self._used[seed] = ways
        varied = known.scenario
        for way in ways:
            varied = way(self._chance, varied, self._draw(seed))
        return replace(
            varied, name=f"swarm-{seed}", says=f"What seed {seed} makes of {known.scenario.name}.", seed=seed
        )

    def tell(self, seed: int, scenario: Scenario, tuples: Iterable[Reached]) -> frozenset[Reached]:
        """What came of it; the part of it that is new."""
        found = frozenset(tuples)
        new = found - self._counts.keys()
        self._counts.update(found)
        for way in dict.fromkeys(self._used.get(seed, ())):
            self._tries[way] += 1
            self._gains[way] += bool(new)
        if new:
            self._known.append(Known(scenario, found))
            if len(self._known) > KEPT_MAX:
                self._known.remove(min(self._known, key=self._worth))
        return new

    def _worth(self, known: Known) -> float:
        """High for what reaches what few runs did, less each time it is varied."""
        rarity = sum(1.0 / self._counts[each] ** 2 for each in known.tuples)
        return rarity / (1 + known.varied)

    def _promise(self, way: Variation) -> float:
        """How often it brought something new, with a little hope for what was seldom tried."""
        return (self._gains[way] + 1) / (self._tries[way] + 2)
