"""Preconditions: each holds on the generation before, and a refusal is an answer too, which something must justify."""

from checker.history.generations import NEVER_WRITTEN, Generation, Known
from checker.history.order import Order
from checker.operations import Operation


def check(order: Order) -> None:
    """Check what was applied, and what was refused."""
    for number in order.numbers[1:]:
        _check_applied(order.known, number)
    _check_refusals(order)


def _check_applied(known: Known, number: int) -> None:
    generation = known.generations[number]
    before = known.generations.get(number - 1)
    if before is None:
        return
    was_live = False if number == 1 else None if before.deleted is None else not before.deleted
    if generation.deleted and was_live is False and not known.has_versions:
        _fault(known, number, "deleted what was not there", before)
    maker = generation.maker
    if maker is None:
        return
    if maker.condition == "absent" and was_live:
        _fault(known, number, "asked for absence", before)
    elif maker.condition == "exists" and was_live is False:
        _fault(known, number, "asked for presence", before)
    elif maker.condition == "etag_is" and not _may_have_etag(was_live, before, maker.condition_etag):
        _fault(known, number, f"asked for etag {maker.condition_etag}", before)
    elif maker.condition == "etag_is_not" and was_live and before.etag == maker.condition_etag:
        _fault(known, number, f"asked for another etag than {maker.condition_etag}", before)
    elif maker.condition == "generation_is" and not _is_generation(known, number - 1, maker.condition_generation):
        _fault(known, number, f"asked for generation {maker.condition_generation}", before)


def _fault(known: Known, number: int, asked: str, before: Generation) -> None:
    generation = known.generations[number]
    maker = generation.maker or generation.begun or generation.first_told
    assert maker is not None
    if number == 1:
        found = "nothing was ever written"
    else:
        found = f"generation {number - 1} is " + ("a tombstone" if before.deleted else f"there with etag {before.etag}")
    others = [before.shown_by] if before.shown_by is not None else []
    known.fault(
        "precondition", f"{maker.id} ({maker.kind}) made generation {number} and {asked}, but {found}", maker, *others
    )


def _check_refusals(order: Order) -> None:
    for operation in order.known.refused:

        def justifies(number: int, generation: Generation, operation: Operation = operation) -> bool:
            return _justifies(number, generation, operation)

        if not order.may_have_found(operation, justifies):
            number = order.numbers[order.window(operation)[0]]
            shown_by = order.known.generations[number].shown_by
            order.known.fault(
                "refused-rightly",
                f"{operation.id} ({operation.kind}, condition {operation.condition}) was refused with status "
                f"{operation.status}, but generation {number} satisfied it all the while",
                operation,
                *([shown_by] if shown_by is not None else []),
            )


def _justifies(number: int, generation: Generation, operation: Operation) -> bool:
    was_live = is_live(number, generation)
    if operation.status == NEVER_WRITTEN:
        return number == 0 if operation.generation == 0 else was_live is not True
    match operation.condition:
        case "absent":
            return was_live is not False
        case "exists":
            return was_live is not True
        case "etag_is":
            return was_live is not True or generation.etag is None or generation.etag != operation.condition_etag
        case "etag_is_not":
            return was_live is not False and generation.etag in (None, operation.condition_etag)
        case "generation_is":
            return number != operation.condition_generation
        case _:
            return True


def is_live(number: int, generation: Generation) -> bool | None:
    """Is there an object at this generation? None where nobody was told."""
    return False if number == 0 else None if generation.deleted is None else not generation.deleted


def _is_generation(known: Known, number: int, wanted: int | None) -> bool:
    """What is forgotten counts as never written."""
    return wanted == number or (wanted == 0 and known.forgotten.may_precede(number))


def _may_have_etag(was_live: bool | None, generation: Generation, etag: str | None) -> bool:
    return was_live is not False and (generation.etag is None or generation.etag == etag)
