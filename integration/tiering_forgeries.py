"""Stories of the archive that end with a lie against which one condition stands alone, as those in forgeries.py."""

from collections.abc import Callable
from typing import Final

from integration.forgeries import Forgery
from integration.judging import Entry
from integration.stories import LIFE_MS, STRANGERS, A, B, Story

Tell = Callable[[Story], object]


def tiering_forgeries() -> list[Forgery]:
    """One for each condition that no lie in a single field is only against."""
    found = []
    for name, operator, part, tell in _FORGERIES:
        story = Story(name)
        tell(story)
        found.append(Forgery(name, operator, part, story.told()))
    return found


# -- looks and requests ------------------------------------------------------------------------------------------------


def at_no_head(story: Story) -> None:
    story.look("n1", story.read_of_nothing())


def object_without_etag(story: Story) -> None:
    story.look("n1", story.write(A), found_present=True)


def generation_of_nothing(story: Story) -> None:
    first = story.write(A)
    ship = story.ship("n1", story.look("n1", first))
    look = story.look("n1", story.read("n1"), ship, found_present=False, found_etag=None)
    assert look.fields["found_generation"] == 1


def what_nobody_sent(story: Story) -> None:
    """The deletion of this generation was sent, and a deletion writes no object."""
    ship, _ = story.archive(story.write(A))
    deleted = story.write(None)
    sent = story.ship("n1", story.look("n1", deleted, ship))
    story.look("n1", story.read("n1"), sent, found_etag=A)


def what_is_there_already(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.ship("n1", story.look("n1", story.read("n1"), ship))


def a_deletion_of_nothing(story: Story) -> None:
    story.archive(story.write(A))
    story.ship("n1", story.look("n1", story.write(None)))


def twice_on_one_look(story: Story) -> None:
    look = story.look("n1", story.write(A))
    story.ship("n1", look)
    story.ship("n1", look)


def an_answer_after_another_look(story: Story) -> None:
    ship = story.ship("n1", story.look("n1", story.write(A)))
    story.look("n1", story.read("n1"))
    story.shipped(ship)


def an_answer_of_nothing(story: Story) -> None:
    ship = story.ship("n1", story.look("n1", story.write(A)))
    story.shipped(ship)
    story.shipped(ship, generation=0)


# -- what is on record -------------------------------------------------------------------------------------------------


def what_was_only_sent(story: Story) -> None:
    ship = story.ship("n1", story.look("n1", story.write(A)))
    story.confirm("n1", ship, by="ship", is_settled=True)


def what_nobody_has_on_record(story: Story) -> None:
    _, confirm = story.archive(story.write(A))
    story.confirm("n2", confirm, generation=2)


def settled_by_an_answer(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    shipped = story.shipped(story.ship("n1", story.look("n1", story.write(B), ship)))
    story.confirm("n1", shipped, is_settled=True)


def what_is_older_but_settled(story: Story) -> None:
    ship, first = story.archive(story.write(A))
    _, second = story.archive(story.write(B), ship)
    story.confirm("n2", second)
    story.confirm("n2", first)


def what_is_on_record(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    _, second = story.archive(story.write(B), ship)
    story.confirm("n2", second)
    story.confirm("n2", second)


def what_is_settled_on_record(story: Story) -> None:
    _, confirm = story.archive(story.write(A))
    story.confirm("n2", confirm)
    story.confirm("n2", confirm)


def second_shipped(story: Story) -> tuple[Entry, Entry]:
    """The second generation is on record, by the node that wrote it: the Ship and the Confirm."""
    ship, _ = story.archive(story.write(A))
    return story.archive(story.write(B), ship)


def settled_before_its_time(story: Story) -> None:
    ship, _ = second_shipped(story)
    story.settle("n1", story.look("n1", story.read("n1"), ship), waited_ms=LIFE_MS - 1)


def settled_nothing(story: Story) -> None:
    story.settle("n1", story.look("n1", story.write(A)))


def settled_what_is_no_more_on_record(story: Story) -> None:
    ship, confirm = second_shipped(story)
    story.confirm("n2", confirm)
    look = story.look("n2", story.read("n2"), ship)
    _, third = story.archive(story.write(A), ship)
    story.confirm("n2", third)
    story.settle("n2", look, generation=2)


def settled_twice(story: Story) -> None:
    ship, _ = second_shipped(story)
    look = story.look("n1", story.read("n1"), ship)
    story.settle("n1", look)
    story.settle("n1", look)


def settled_what_is_gone(story: Story) -> None:
    second_shipped(story)
    story.settle("n1", story.look("n1", story.read("n1")))


def settled_by_a_look_from_before(story: Story) -> None:
    ship, _ = second_shipped(story)
    look = story.look("n2", story.read("n2"), ship)
    story.confirm("n2", look)
    story.settle("n2", look)


def doubt_without_a_look(story: Story) -> None:
    """The look was used up."""
    ship, _ = story.archive(story.write(A))
    look = story.look("n1", story.write(B), ship)
    story.ship("n1", look)
    story.doubt("n1", look)


def doubt_of_what_is_there(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.doubt("n1", story.look("n1", story.read("n1"), ship))


# -- disks and clients -------------------------------------------------------------------------------------------------


def evicted_what_is_not_archived(story: Story) -> None:
    story.archive(story.write(A))
    story.write(B)
    story.evict("n1")


def evicted_what_is_not_settled(story: Story) -> None:
    second_shipped(story)
    story.evict("n1")


def evicted_what_has_a_name(story: Story) -> None:
    story.archive(story.write(A, versioned=True))
    story.evict("n1")


def answered_too_early(story: Story) -> None:
    first = story.write(A)
    story.ship("n1", story.look("n1", first))
    story.answer(first, story.look("n1", story.read("n1")))


# -- what is forgotten -------------------------------------------------------------------------------------------------


def forgotten_what_is_not_shipped(story: Story) -> None:
    story.write(A)
    story.write(None)
    story.collect("n1")


def forgotten_when_the_object_is_there(story: Story) -> None:
    story.archive(story.write(A))
    story.write(None)
    story.collect("n1")


def forgotten_before_it_is_settled(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.archive(story.write(None), ship)
    story.collect("n1")


# -- over a restart ----------------------------------------------------------------------------------------------------


def a_look_from_before_a_restart(story: Story) -> None:
    look = story.look("n1", story.write(A))
    seen = story.nodes["n1"].head
    story.restart()
    story.nodes["n1"].head = seen
    story.ship("n1", look)


def an_answer_from_before_a_restart(story: Story) -> None:
    ship = story.ship("n1", story.look("n1", story.write(A)))
    story.restart()
    story.shipped(ship)


def known_from_before_a_restart(story: Story) -> None:
    first = story.write(A)
    shipped = story.shipped(story.ship("n1", story.look("n1", first, STRANGERS)))
    story.restart()
    story.answer(first, shipped)


_FORGERIES: Final[list[tuple[str, str, str, Tell]]] = [
    ("a look at no head", "Look", "head.generation > 0", at_no_head),
    ("an object without an etag", "Look", "found.present = (found.etag # 0)", object_without_etag),
    ("a generation of nothing", "Look", "found.generation > 0 => found.present", generation_of_nothing),
    ("an object that nobody sent", "Look", "found.generation > 0 => found.generation \\in sent", what_nobody_sent),
    (
        "a request for what is there already",
        "Ship",
        "looked[n].head.generation > looked[n].found.generation",
        what_is_there_already,
    ),
    (
        "a deletion of nothing",
        "Ship",
        "looked[n].head.deleted => looked[n].found.present",
        a_deletion_of_nothing,
    ),
    ("two requests on one look", "Ship", "looked' = [looked EXCEPT ![n] = NoLook]", twice_on_one_look),
    ("an answer after another look", "Look", "shipping' = [shipping EXCEPT ![n] = 0]", an_answer_after_another_look),
    ("an answer of nothing", "Shipped", "generation > 0", an_answer_of_nothing),
    ("a record of what was only sent", "Confirm", 'by # "told" => generation = knows[n]', what_was_only_sent),
    (
        "a record of what nobody said",
        "Confirm",
        'by = "told" => [generation |-> generation, settled |-> isSettled] \\in said',
        what_nobody_has_on_record,
    ),
    (
        "a record that is settled by an answer",
        "Confirm",
        'by # "told" => isSettled = (generation = 1)',
        settled_by_an_answer,
    ),
    ("a record of what is older", "Confirm", "generation = archived[n]", what_is_older_but_settled),
    ("a record once more", "Confirm", "isSettled", what_is_on_record),
    ("a settled record once more", "Confirm", "~settled[n]", what_is_settled_on_record),
    ("settled before its time", "Settle", "waited", settled_before_its_time),
    ("settled nothing", "Settle", "generation > 0", settled_nothing),
    ("settled what is no more on record", "Settle", "generation = archived[n]", settled_what_is_no_more_on_record),
    ("settled twice", "Settle", "~settled[n]", settled_twice),
    ("settled what is gone", "Settle", "Shows(looked[n]) = generation", settled_what_is_gone),
    (
        "settled by a look from before",
        "Settle",
        "looked[n].record = generation",
        settled_by_a_look_from_before,
    ),
    ("a doubt without a look", "Doubt", "looked[n] # NoLook", doubt_without_a_look),
    ("a doubt of what is there", "Doubt", "Shows(looked[n]) < archived[n]", doubt_of_what_is_there),
    ("a disk without what is not archived", "Evict", "archived[n] >= generation", evicted_what_is_not_archived),
    ("a disk without what is not settled", "Evict", "settled[n]", evicted_what_is_not_settled),
    (
        "a disk without a version that has a name",
        "ReplayEvict",
        "Current(head[Evict_node(e)]).id = NullVersion",
        evicted_what_has_a_name,
    ),
    (
        "forgotten what is not shipped",
        "ForgetRecord",
        "archived[n] = 0 => (generation = 0 \\/ ~isTiered)",
        forgotten_what_is_not_shipped,
    ),
    (
        "forgotten when the object is there",
        "ForgetRecord",
        "archived[n] > 0 => archived[n] >= generation",
        forgotten_when_the_object_is_there,
    ),
    (
        "forgotten before it is settled",
        "ForgetRecord",
        "archived[n] > 0 => settled[n]",
        forgotten_before_it_is_settled,
    ),
    ("a client that is answered too early", "Answer", "knows[n] >= generation", answered_too_early),
    ("a look from before a restart", "Forget", "looked' = [looked EXCEPT ![n] = NoLook]", a_look_from_before_a_restart),
    (
        "a request from before a restart",
        "Forget",
        "shipping' = [shipping EXCEPT ![n] = 0]",
        an_answer_from_before_a_restart,
    ),
    ("an answer from before a restart", "Forget", "knows' = [knows EXCEPT ![n] = 0]", known_from_before_a_restart),
]
