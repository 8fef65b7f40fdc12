"""The rules on causes, on the traces of a lock: what a manifest can say of messages. Without TLC: it knows none."""

import pytest

from checker import manifest as manifests
from checker.causes import CauseFault, CauseRules
from checker.errors import CannotCheck
from checker.load import load
from checker.order import linear_extension
from checker.pack import Packer
from checker.split import by_key
from checker.tests.conftest import LockRun


def first_fault(lock: LockRun) -> CauseFault | None:
    """Of the traces of the door."""
    manifest = manifests.read(lock.manifest)
    traces = load(lock.write(), manifest)
    [behaviour] = by_key(traces, linear_extension(traces))
    return CauseRules(manifest, traces).first_fault(behaviour, Packer(manifest, traces).records(behaviour))


def say_in_manifest(lock: LockRun, old: str, new: str) -> None:
    text = lock.manifest.read_text()
    assert text.count(old) == 1
    lock.manifest.write_text(text.replace(old, new))


TAKE = "causes = { count = 1, Make = { was_fence = "


def test_what_follows_from_the_kind_of_the_cause_must_be_said(lock: LockRun) -> None:
    say_in_manifest(lock, TAKE, TAKE.replace("count = 1", 'count = 1, by_kind = { mode = { Make = "hasty" } }'))
    lock.turns(2)
    fault = first_fault(lock)
    assert fault is not None
    assert (fault.position, fault.rule) == (1, "carries")
    assert fault.text == "Take says mode patient, but its cause a.1.2, Make, makes it hasty"


def test_other_kinds_of_causes_leave_the_field_free(lock: LockRun) -> None:
    say_in_manifest(lock, TAKE, TAKE.replace("count = 1", 'count = 1, by_kind = { mode = { Make = "patient" } }'))
    lock.turns(2)
    lock.files["b", 1][2]["mode"] = "hasty"  # after a Give
    assert lock.files["b", 1][2]["event"] == "Take"
    assert first_fault(lock) is None


def test_a_cause_that_may_be_named_once_is_not_named_twice(lock: LockRun) -> None:
    lock.turns(1)
    lock.say("c", "Look", "door", "a.1.3", fence=15, held=False)
    assert first_fault(lock) is None
    say_in_manifest(
        lock, 'causes = { count = 1, Take = ["fence"] }', 'causes = { count = 1, once = true, Take = ["fence"] }'
    )
    fault = first_fault(lock)
    assert fault is not None and fault.rule == "causes"
    looks = {"b.1.2", "c.1.2"}
    assert fault.text in {f"Look names a.1.3, Take, which {first}, Look, has named already" for first in looks}


PARTS = 'parts = { taken = ["Take"], made = ["Make"] }, when = { made = "held" }, Take = ["fence"], Make = []'


def look_of(lock: LockRun, held: bool, *causes: str) -> CauseFault | None:
    """Of a trace that ends with a look, by a manifest that wants who took the lock, and if it is held, who made it."""
    say_in_manifest(lock, 'causes = { count = 1, Take = ["fence"] }', f"causes = {{ {PARTS} }}")
    lock.say("a", "Make", "door", fence=5, by="a")
    lock.say("a", "Take", "door", "a.1.2", fence=15, was_fence=5, mode="patient")
    lock.say("b", "Look", "door", *causes, fence=15, held=held)
    return first_fault(lock)


@pytest.mark.parametrize(
    ("held", "causes"), [(False, ["a.1.3"]), (True, ["a.1.3", "a.1.2"]), (True, ["a.1.2", "a.1.3"])]
)
def test_a_cause_of_each_part_is_named_where_the_event_speaks_of_it(
    lock: LockRun, held: bool, causes: list[str]
) -> None:
    assert look_of(lock, held, *causes) is None


@pytest.mark.parametrize(
    ("held", "causes"),
    [
        (False, []),
        (False, ["a.1.2"]),
        (False, ["a.1.3", "a.1.2"]),
        (True, ["a.1.3"]),
        (True, ["a.1.3", "a.1.3"]),
    ],
)
def test_a_part_without_its_cause_and_a_cause_without_a_part_are_faults(
    lock: LockRun, held: bool, causes: list[str]
) -> None:
    fault = look_of(lock, held, *causes)
    assert fault is not None and (fault.position, fault.rule) == (2, "causes")
    assert fault.text.startswith("Look must have as causes one of Take and one of Make if it says held; it has ")


def test_a_cause_that_must_be_of_the_same_node_is_not_of_another(lock: LockRun) -> None:
    say_in_manifest(lock, TAKE, TAKE.replace("count = 1", 'count = 1, own = ["Make"]'))
    lock.say("a", "Make", "door", fence=5, by="a")
    lock.say("a", "Take", "door", "a.1.2", fence=15, was_fence=5, mode="patient")
    assert first_fault(lock) is None
    lock.say("b", "Take", "door", "a.1.2", fence=25, was_fence=5, mode="patient")
    fault = first_fault(lock)
    assert fault is not None and (fault.position, fault.rule) == (2, "causes")
    assert fault.text == "Take may be caused by a Make of its own node only; its cause a.1.2 is one of another"


@pytest.fixture
def opening(lock: LockRun) -> LockRun:
    """A manifest by which whoever comes back looks before it takes; b has come back."""
    say_in_manifest(lock, 'replay = "ReplayLook"\n', 'replay = "ReplayLook"\nopens = ["Take"]\n')
    lock.say("a", "Make", "door", fence=5, by="a")
    return lock


def take(lock: LockRun, node: str, incarnation: int) -> None:
    lock.say(node, "Take", "door", "a.1.2", incarnation=incarnation, fence=15, was_fence=5, mode="patient")


def look(lock: LockRun, node: str, incarnation: int) -> None:
    lock.say(node, "Look", "door", "a.1.3", incarnation=incarnation, fence=15, held=False)


def test_a_node_that_came_back_must_say_first_what_it_found(opening: LockRun) -> None:
    opening.say("b", "Begin", None, format=3)
    take(opening, "b", 2)
    fault = first_fault(opening)
    assert fault is not None
    assert (fault.position, fault.rule) == (1, "begins")
    assert fault.text == "Take without a Look before it, in an incarnation that is not its node's first"


def test_a_first_incarnation_says_nothing_of_what_it_found(opening: LockRun) -> None:
    take(opening, "a", 1)
    assert first_fault(opening) is None
    look(opening, "b", 1)
    fault = first_fault(opening)
    assert fault is not None
    assert (fault.position, fault.rule) == (2, "begins")
    assert fault.text == "Look, but this incarnation is the first of its node"


def test_it_says_so_once(opening: LockRun) -> None:
    take(opening, "a", 1)
    opening.say("b", "Begin", None, format=3)
    look(opening, "b", 2)
    assert first_fault(opening) is None
    look(opening, "b", 2)
    fault = first_fault(opening)
    assert fault is not None
    assert fault.text == "Look, but this incarnation has said it before"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            TAKE,
            TAKE.replace("count", 'by_kind = { colour = { Make = "red" } }, count'),
            "'colour' must be a field of Take",
        ),
        (TAKE, TAKE.replace("count", 'by_kind = { mode = { Look = "hasty" } }, count'), "kinds that may be its cause"),
        (TAKE, TAKE.replace("count", "twice = true, count"), "event.Take.causes.twice is True; give count, each"),
        ('replay = "ReplayLook"\n', 'replay = "ReplayLook"\nopens = ["Steal"]\n', "there is no other event 'Steal'"),
    ],
)
def test_a_manifest_with_a_rule_about_nothing_is_refused(lock: LockRun, old: str, new: str, says: str) -> None:
    say_in_manifest(lock, old, new)
    with pytest.raises(CannotCheck) as raised:
        manifests.read(lock.manifest)
    assert says in str(raised.value)
