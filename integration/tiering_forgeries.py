"""Stories of the archive that end with a lie against which one condition stands alone, as those in forgeries.py."""

from collections.abc import Callable
from typing import Final

from integration.forgeries import Forgery
from integration.judging import Entry
from integration.stories import LIFE_MS, STRANGERS, A, B, Story

Tell = Callable[[Story], object]
_FORGERIES: Final[list[tuple[str, str, Tell]]] = []


def tiering_forgeries() -> list[Forgery]:
    """One for each condition that no lie in a single field is only against."""
    found = []
    for operator, part, tell in _FORGERIES:
        name = tell.__name__.replace("_", " ")
        story = Story(name)
        tell(story)
        found.append(Forgery(name, operator, part, story.told()))
    return found


def _against(operator: str, part: str) -> Callable[[Tell], Tell]:
    """The story ends with what this condition of the operator forbids, and no other one does."""

    def remember(tell: Tell) -> Tell:
        _FORGERIES.append((operator, part, tell))
        return tell

    return remember


# -- looks and requests ------------------------------------------------------------------------------------------------


@_against("Look", "head.generation > 0")
def a_look_at_no_head(story: Story) -> None:
    story.look("n1", story.read_of_nothing())


@_against("Look", "found.present = (found.etag # 0)")
def an_object_without_an_etag(story: Story) -> None:
    story.look("n1", story.write(A), found_present=True)


@_against("Look", "found.generation > 0 => found.present")
def a_generation_of_nothing(story: Story) -> None:
    first = story.write(A)
    ship = story.request("n1", first)
    look = story.look("n1", story.read("n1"), ship, found_present=False, found_etag=None)
    assert look.fields["found_generation"] == 1


@_against("Look", "found.generation > 0 => found.generation \\in sent")
def an_object_that_nobody_sent(story: Story) -> None:
    """The deletion of this generation was sent, and a deletion writes no object."""
    ship, _ = story.archive(story.write(A))
    deleted = story.write(None)
    sent = story.request("n1", deleted, ship)
    story.look("n1", story.read("n1"), sent, found_etag=A)


@_against("Ship", "looked[n].head.generation > looked[n].found.generation")
def a_request_for_what_is_there_already(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.request("n1", story.read("n1"), ship)


@_against("Ship", "looked[n].head.deleted => looked[n].found.present")
def a_deletion_of_nothing(story: Story) -> None:
    story.archive(story.write(A))
    story.request("n1", story.write(None))


@_against("Ship", "looked' = [looked EXCEPT ![n] = NoLook]")
def two_requests_on_one_look(story: Story) -> None:
    look = story.look("n1", story.write(A))
    story.ship("n1", look)
    story.ship("n1", look)


@_against("Look", "shipping' = [shipping EXCEPT ![n] = 0]")
def an_answer_after_another_look(story: Story) -> None:
    ship = story.request("n1", story.write(A))
    story.look("n1", story.read("n1"))
    story.shipped(ship)


@_against("Shipped", "generation > 0")
def an_answer_of_nothing(story: Story) -> None:
    ship = story.request("n1", story.write(A))
    story.shipped(ship)
    story.shipped(ship, generation=0)


# -- what is on record -------------------------------------------------------------------------------------------------


def _second_shipped(story: Story) -> tuple[Entry, Entry]:
    """The second generation is on record, by the node that wrote it: the Ship and the Confirm."""
    ship, _ = story.archive(story.write(A))
    return story.archive(story.write(B), ship)


@_against("Confirm", 'by # "told" => generation = knows[n]')
def a_record_of_what_was_only_sent(story: Story) -> None:
    ship = story.request("n1", story.write(A))
    story.confirm("n1", ship, by="ship", is_settled=True)


@_against("Confirm", 'by = "told" => [generation |-> generation, settled |-> isSettled] \\in said')
def a_record_of_what_nobody_said(story: Story) -> None:
    _, confirm = story.archive(story.write(A))
    story.confirm("n2", confirm, generation=2)


@_against("Confirm", 'by # "told" => isSettled = (generation = 1)')
def a_record_that_is_settled_by_an_answer(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    shipped = story.shipped(story.request("n1", story.write(B), ship))
    story.confirm("n1", shipped, is_settled=True)


@_against("Confirm", "generation = archived[n]")
def a_record_of_what_is_older(story: Story) -> None:
    ship, first = story.archive(story.write(A))
    _, second = story.archive(story.write(B), ship)
    story.confirm("n2", second)
    story.confirm("n2", first)


@_against("Confirm", "isSettled")
def a_record_once_more(story: Story) -> None:
    _, second = _second_shipped(story)
    story.confirm("n2", second)
    story.confirm("n2", second)


@_against("Confirm", "~settled[n]")
def a_settled_record_once_more(story: Story) -> None:
    _, confirm = story.archive(story.write(A))
    story.confirm("n2", confirm)
    story.confirm("n2", confirm)


@_against("Settle", "waited")
def settled_before_its_time(story: Story) -> None:
    ship, _ = _second_shipped(story)
    story.settle("n1", story.look("n1", story.read("n1"), ship), waited_ms=LIFE_MS - 1)


@_against("Settle", "generation > 0")
def settled_nothing(story: Story) -> None:
    story.settle("n1", story.look("n1", story.write(A)))


@_against("Settle", "generation = archived[n]")
def settled_what_is_no_more_on_record(story: Story) -> None:
    ship, confirm = _second_shipped(story)
    story.confirm("n2", confirm)
    look = story.look("n2", story.read("n2"), ship)
    _, third = story.archive(story.write(A), ship)
    story.confirm("n2", third)
    story.settle("n2", look, generation=2)


@_against("Settle", "~settled[n]")
def settled_twice(story: Story) -> None:
    ship, _ = _second_shipped(story)
    look = story.look("n1", story.read("n1"), ship)
    story.settle("n1", look)
    story.settle("n1", look)


@_against("Settle", "Shows(looked[n]) = generation")
def settled_what_is_gone(story: Story) -> None:
    _second_shipped(story)
    story.settle("n1", story.look("n1", story.read("n1")))


@_against("Settle", "looked[n].record = generation")
def settled_by_a_look_from_before(story: Story) -> None:
    ship, _ = _second_shipped(story)
    look = story.look("n2", story.read("n2"), ship)
    story.confirm("n2", look)
    story.settle("n2", look)


@_against("Doubt", "looked[n] # NoLook")
def a_doubt_without_a_look(story: Story) -> None:
    """The look was used up."""
    ship, _ = story.archive(story.write(A))
    look = story.look("n1", story.write(B), ship)
    story.ship("n1", look)
    story.doubt("n1", look)


@_against("Doubt", "Shows(looked[n]) < archived[n]")
def a_doubt_of_what_is_there(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.doubt("n1", story.look("n1", story.read("n1"), ship))


# -- disks and clients -------------------------------------------------------------------------------------------------


@_against("Evict", "archived[n] >= generation")
def a_disk_without_what_is_not_archived(story: Story) -> None:
    story.archive(story.write(A))
    story.write(B)
    story.evict("n1")


@_against("Evict", "settled[n]")
def a_disk_without_what_is_not_settled(story: Story) -> None:
    _second_shipped(story)
    story.evict("n1")


@_against("ReplayEvict", "Current(head[Evict_node(e)]).id = NullVersion")
def a_disk_without_a_version_that_has_a_name(story: Story) -> None:
    story.archive(story.write(A, versioned=True))
    story.evict("n1")


@_against("Answer", "knows[n] >= generation")
def a_client_that_is_answered_too_early(story: Story) -> None:
    first = story.write(A)
    story.request("n1", first)
    story.answer(first, story.look("n1", story.read("n1")))


# -- what is forgotten -------------------------------------------------------------------------------------------------


@_against("ForgetRecord", "archived[n] = 0 => (generation = 0 \\/ ~isTiered)")
def forgotten_what_is_not_shipped(story: Story) -> None:
    story.write(A)
    story.write(None)
    story.collect("n1")


@_against("ForgetRecord", "archived[n] > 0 => archived[n] >= generation")
def forgotten_when_the_object_is_there(story: Story) -> None:
    story.archive(story.write(A))
    story.write(None)
    story.collect("n1")


@_against("ForgetRecord", "archived[n] > 0 => settled[n]")
def forgotten_before_it_is_settled(story: Story) -> None:
    ship, _ = story.archive(story.write(A))
    story.archive(story.write(None), ship)
    story.collect("n1")


# -- over a restart ----------------------------------------------------------------------------------------------------


@_against("Forget", "looked' = [looked EXCEPT ![n] = NoLook]")
def a_look_from_before_a_restart(story: Story) -> None:
    look = story.look("n1", story.write(A))
    seen = story.nodes["n1"].head
    story.restart()
    story.nodes["n1"].head = seen
    story.ship("n1", look)


@_against("Forget", "shipping' = [shipping EXCEPT ![n] = 0]")
def a_request_from_before_a_restart(story: Story) -> None:
    ship = story.request("n1", story.write(A))
    story.restart()
    story.shipped(ship)


@_against("Forget", "knows' = [knows EXCEPT ![n] = 0]")
def an_answer_from_before_a_restart(story: Story) -> None:
    first = story.write(A)
    shipped = story.shipped(story.request("n1", first, STRANGERS))
    story.restart()
    story.answer(first, shipped)
