"""One linear order of a run's events is enough: whichever it is, the verdict is the same.

A replay takes one linear extension of the causal order. That this loses nothing is a claim about the spec and about the
traces, namely that events which nothing orders commute (spec/tla/RegisterTrace.tla). Here it is tried on twenty runs.
"""

import dataclasses
from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from checker import tlc
from checker.load import Traces, load
from checker.manifest import Manifest
from checker.order import linear_extension
from checker.replay import Replay, Replayed
from checker.split import by_key
from integration.judging import MANIFEST, Behaviour, Entry, behaviours, run_of_simulator, write
from integration.stories import honest_stories

RUNS: Final = 20
ORDERS: Final = 20
SHORT: Final = str(Path(__file__).parent / "short.toml")
UNCAUSED: Final = "reads without causes"
UNCAUSED_RUNS: Final = 5
INCARNATIONS_MAX: Final = 10  # of a run's nodes
CORRUPTED: Final = (("Accept", "was_generation"), ("Propose", "was_generation"), ("Promise", "was_generation"))

# The runs are put together one after the other, so a run's first incarnation is not its node's: the one rule that looks
# at that has nothing to do with the order.
MANIFEST_OF_ALL: Final[Manifest] = dataclasses.replace(
    MANIFEST, kinds={name: dataclasses.replace(kind, opens=()) for name, kind in MANIFEST.kinds.items()}
)


@dataclass(frozen=True)
class Orders:
    """Every path of every run in many orders, and what the replay said of each: `replayed` knows them by number."""

    traces: Traces
    orders: list["array[int]"]
    replayed: Replayed
    corrupted: dict[str, str]
    """By path: the event that is corrupted."""

    def path(self, number: int) -> str:
        return self.traces.keys[self.traces.key[self.orders[number][0]]]

    def is_uncaused(self, number: int) -> bool:
        return self.path(number).startswith(UNCAUSED)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    folder = tmp_path_factory.mktemp("orders")
    copies: list[tuple[str, Behaviour]] = []
    corrupted: dict[str, Entry] = {}
    for number in range(RUNS):
        run = run_of_simulator(folder / "run", SHORT, seed=number + 1)
        found = behaviours(run, later=number, first_incarnation=1 + number * INCARNATIONS_MAX)
        copies += [(f"run {number}: {behaviour.path}", behaviour) for behaviour in found]
        if number < len(CORRUPTED):
            path = f"run {number}, corrupted"
            behaviour, corrupted[path] = with_one_more(found, *CORRUPTED[number])
            copies.append((path, behaviour))
        if number < UNCAUSED_RUNS:
            copies.append((f"{UNCAUSED} {number}", without_causes(found, "Read")))
    traces = load(write(folder / "all", copies), MANIFEST_OF_ALL)
    return in_many_orders(traces, {path: entry.id for path, entry in corrupted.items()})


def in_many_orders(traces: Traces, corrupted: dict[str, str]) -> Orders:
    """Each path in ORDERS orders, or as many as it has of those that are drawn."""
    each_once: dict[tuple[int, ...], array[int]] = {}
    for seed in range(ORDERS):
        for order in by_key(traces, linear_extension(traces, seed)):
            each_once.setdefault(tuple(order), order)
    drawn = list(each_once.values())
    with Replay(MANIFEST_OF_ALL, traces, tlc.locate(None), jvms=2) as replay:
        replay.start(drawn)
        replayed = replay.finish()
    judged = Orders(traces, drawn, replayed, corrupted)
    assert all(judged.is_uncaused(number) for number in replay.cause_faults)
    return judged


def without_causes(sources: list[Behaviour], kind: str) -> Behaviour:
    """A copy of the longest behaviour in which nothing orders events of this kind after what they counted."""
    behaviour = max(sources, key=len).copy()
    for number in behaviour.of(kind):
        behaviour.entries[number].causes = []
    return behaviour


def with_one_more(sources: list[Behaviour], kind: str, field: str) -> tuple[Behaviour, Entry]:
    """A copy of the longest behaviour in which one event says one more than it should; that event."""
    behaviour = max(sources, key=len).copy()
    numbers = behaviour.of(kind)
    entry = behaviour.entries[numbers[len(numbers) // 2]]
    entry.fields[field] += 1
    return behaviour, entry


def test_the_orders_of_a_path_are_really_different_ones(orders: Orders) -> None:
    drawn = Counter(orders.path(number) for number in range(len(orders.orders)))
    assert max(drawn.values()) == ORDERS
    # short traces have few orders, most have many
    assert sum(drawn.values()) >= RUNS * ORDERS * 5


def test_every_order_of_every_run_is_accepted(orders: Orders) -> None:
    assert orders.replayed.troubles == []
    assert orders.replayed.canary
    assert orders.replayed.distinct == orders.replayed.expected
    wrong = [
        f"{orders.path(number)}, refused at {orders.traces.id(orders.orders[number][place or 0])}"
        for number, place in orders.replayed.refused.items()
        if orders.path(number) not in orders.corrupted and not orders.is_uncaused(number)
    ]
    assert wrong == []


def test_a_corrupted_run_is_refused_in_every_order_and_at_the_same_event(orders: Orders) -> None:
    refused: dict[str, list[str]] = {}
    for number, place in orders.replayed.refused.items():
        assert place is not None
        refused.setdefault(orders.path(number), []).append(orders.traces.id(orders.orders[number][place]))
    drawn = Counter(orders.path(number) for number in range(len(orders.orders)))
    assert len(orders.corrupted) == len(CORRUPTED)
    for path, event in orders.corrupted.items():
        assert drawn[path] >= ORDERS // 2
        assert refused[path] == [event] * drawn[path]


def test_without_the_edges_from_what_a_read_counted_the_verdict_would_be_a_matter_of_luck(orders: Orders) -> None:
    numbers = [number for number in range(len(orders.orders)) if orders.is_uncaused(number)]
    assert len(numbers) == UNCAUSED_RUNS * ORDERS
    refused = [number for number in numbers if number in orders.replayed.refused]
    assert UNCAUSED_RUNS <= len(refused) < len(numbers)


def test_every_order_of_what_is_done_with_the_archive_is_accepted(tmp_path: Path) -> None:
    stories = [(story.path, story.told()) for story in honest_stories()]
    judged = in_many_orders(load(write(tmp_path / "stories", stories), MANIFEST_OF_ALL), {})
    assert len(judged.orders) >= len(stories) * ORDERS // 2
    assert (judged.replayed.troubles, judged.replayed.refused) == ([], {})
