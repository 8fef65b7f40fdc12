"""The order is causal: what must come before does, under every seed, and what contradicts itself is named."""

import pytest

from checker import manifest as manifests
from checker.errors import CannotCheck
from checker.load import load
from checker.order import linear_extension
from checker.split import by_key
from checker.tests.conftest import LockRun


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_an_event_comes_after_its_causes_and_after_what_its_node_did_before(lock: LockRun, seed: int | None) -> None:
    for number in range(4):
        lock.turns(10, f"door {number}", ("a", "b") if number % 2 else ("b", "c"))
    traces = load(lock.write(), manifests.read(lock.manifest))
    order = linear_extension(traces, seed)
    assert sorted(order) == list(range(len(traces)))
    place = {index: place for place, index in enumerate(order)}
    for file in traces.files:
        own = [place[index] for index in range(file.first, file.first + file.count)]
        assert own == sorted(own)
    for index in order:
        assert all(place[cause] < place[index] for cause in traces.causes_of(index))


def test_seeds_draw_different_orders(lock: LockRun) -> None:
    for number in range(4):
        lock.turns(10, f"door {number}", ("a", "b") if number % 2 else ("b", "c"))
    traces = load(lock.write(), manifests.read(lock.manifest))
    assert len({tuple(linear_extension(traces, seed)) for seed in range(20)}) > 10


def test_a_later_incarnation_comes_after_the_earlier_one_of_its_node(lock: LockRun) -> None:
    lock.turns(1)
    lock.say("a", "Make", "gate", incarnation=10, fence=5, by="a")
    lock.say("a", "Make", "hatch", incarnation=2, fence=5, by="a")
    traces = load(lock.write(), manifests.read(lock.manifest))
    order = [traces.id(index) for index in linear_extension(traces)]
    assert order.index("a.1.4") < order.index("a.2.2") < order.index("a.10.2")


def test_causes_that_contradict_a_nodes_own_order_are_named_as_a_cycle(lock: LockRun) -> None:
    lock.say("a", "Take", "door", "b.1.3", fence=1, was_fence=None, mode="hasty")
    lock.say("a", "Give", "door", fence=1)
    lock.say("b", "Take", "door", "a.1.3", fence=2, was_fence=1, mode="hasty")
    lock.say("b", "Give", "door", fence=2)
    traces = load(lock.write(), manifests.read(lock.manifest))
    with pytest.raises(CannotCheck) as error:
        linear_extension(traces)
    said = str(error.value)
    assert "contradict the nodes' own order" in said
    assert "a.1.2 is before, on the same node, a.1.3" in said and "a.1.3 causes b.1.2" in said
    assert f"{lock.file('b')}:2" in said


def test_an_event_that_causes_itself_is_a_cycle(lock: LockRun) -> None:
    lock.say("a", "Take", "door", "a.1.2", fence=1, was_fence=None, mode="hasty")
    with pytest.raises(CannotCheck, match=r"a\.1\.2 causes a\.1\.2"):
        linear_extension(load(lock.write(), manifests.read(lock.manifest)))


def test_splitting_keeps_each_keys_events_in_order_and_loses_none(lock: LockRun) -> None:
    lock.turns(3, "door")
    lock.turns(2, "gate")
    traces = load(lock.write(), manifests.read(lock.manifest))
    order = linear_extension(traces)
    behaviours = dict(zip(traces.keys, by_key(traces, order), strict=True))
    assert {key: len(events) for key, events in behaviours.items()} == {"door": 10, "gate": 7}
    for events in behaviours.values():
        assert list(events) == [index for index in order if index in set(events)]
