"""The acceptor of one register: pure steps, named as in spec/tla/Register.tla (Promise, Accept, Adopt, Report, Refuse).

A step is `(register, message) -> Step`: the register after it, whether it was taken, and the event that says so. The
caller makes register and event durable together, and only then answers.
"""

import msgspec

from impl.model import VIRGIN, Ballot, Head, Register, ReplicaSet
from impl.protocol import events
from impl.protocol.change import Change, Result, described
from impl.protocol.messages import Accept, Prepare, Read, State
from impl.protocol.rules import HONEST, Rules


class Step(msgspec.Struct, frozen=True):
    """What a step did: `taken` is False for a refusal, which leaves the register as it was.

    `event` is None only for a claim not taken: its coordinator prepares instead, and that has events of its own; and
    for a repair or a collection that came too late. `forgets`: of the register only a promise is left (collecting.py).
    """

    register: Register
    taken: bool
    event: events.TraceEvent | None
    forgets: bool = False


def known(ballot: Ballot) -> Ballot | None:
    """A ballot as traces spell it: None for none."""
    return ballot or None


def on_prepare(register: Register, request: Prepare, rules: Rules = HONEST) -> Step:
    """Promise not to accept below `request.ballot`, if it is above everything promised (spec: Promise)."""
    if request.ballot <= register.promised and not rules.promise_lower:
        return _refuse(register, "prepare", request.ballot, request.path, request.cause)
    promise = events.Promise(
        path=request.path,
        cause=_causes(request.cause),
        ballot=request.ballot,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )
    kept = VIRGIN if rules.promise_forgets_accepted else register
    promised = Register(request.ballot, kept.accepted, kept.head, register.archived, register.is_settled)
    return Step(promised, True, promise)


def on_accept(register: Register, request: Accept, rules: Rules = HONEST) -> Step:
    """Accept the head unless something higher is promised, and promise `next` with it (spec: Accept)."""
    if request.ballot < register.promised and not rules.accept_below_promise:
        return _refuse(register, "accept", request.ballot, request.path, request.cause)
    head = request.head
    accept = events.Accept(
        path=request.path,
        cause=_causes(request.cause),
        ballot=request.ballot,
        next=known(request.next),
        generation=head.generation if head else 0,
        etag=head.etag if head else None,
        deleted=head.deleted if head else False,
        versions=head.version_ids if head else (),
        write_id=head.last_write_id if head else None,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )
    return Step(accepted_register(register, request.ballot, head, request.next), True, accept)


def may_adopt(register: Register, accepted: Ballot) -> bool:
    """Does a replica in this state catch up with one that has accepted this ballot? (spec: Adopt)"""
    return accepted > register.accepted and accepted >= register.promised


def on_adopt(register: Register, path: str, read: str, found: State, rules: Rules = HONEST) -> Step:
    """Take over what another replica, asked by `read`, has accepted, unless something higher is promised (spec: Adopt).

    It is a late request to accept, but for `next`: that is promised only to the coordinator, in a reply to it.
    """
    if rules.heal_by_wall_clock:
        takes = _written_at_ms(found.head) > _written_at_ms(register.head)
    else:
        is_newer = rules.adopt_below_promise and found.accepted > register.accepted
        takes = is_newer or may_adopt(register, found.accepted)
    if not takes:
        return Step(register, False, None)
    head = found.head
    adopt = events.Adopt(
        path=path,
        cause=_causes(found.event),
        read=read,
        ballot=found.accepted,
        generation=head.generation if head else 0,
        etag=head.etag if head else None,
        deleted=head.deleted if head else False,
        versions=head.version_ids if head else (),
        write_id=head.last_write_id if head else None,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )
    promised = max(register.promised, found.accepted)
    return Step(Register(promised, found.accepted, head, register.archived, register.is_settled), True, adopt)


def _written_at_ms(head: Head | None) -> int:
    return head.updated_at_ms if head else 0


def is_virgin(register: Register, rules: Rules = HONEST) -> bool:
    """Was nothing ever promised here? Then the register's lowest ballot may be claimed."""
    return not (register.accepted if rules.claim_not_virgin else register.promised)


def on_claim(
    register: Register,
    path: str,
    ballot: Ballot,
    following: Ballot,
    change: Change,
    result: Result,
    group: ReplicaSet,
    rules: Rules = HONEST,
) -> Step:
    """Accept one's own first proposal, if nothing was ever promised here (spec: Claim).

    `ballot` is the register's lowest, so nothing can be below it and no prepare is needed; that it is used once only is
    exactly this check, made durable with the acceptance before any other replica hears of the proposal.
    """
    if not is_virgin(register, rules):
        return Step(register, False, None)
    claim = events.Claim(
        path=path,
        replicas=group.nodes,
        preferred=group.preferred,
        write_quorum=group.write_quorum,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        ballot=ballot,
        next=known(following),
        was_generation=register.generation,
        **described(change, result),
    )
    return Step(accepted_register(register, ballot, result.head, following), True, claim)


def accepted_register(register: Register, ballot: Ballot, head: Head | None, following: Ballot) -> Register:
    """The register right after accepting: shared by Accept and Claim."""
    return Register(max(ballot, following), ballot, head, register.archived, register.is_settled)


def on_read(register: Register, request: Read) -> events.Report:
    """Say what is promised and accepted; changes nothing (spec: Report)."""
    return events.Report(
        path=request.path,
        read=request.read,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )


def _refuse(register: Register, step: str, ballot: Ballot, path: str, cause: str) -> Step:
    refusal = events.Refuse(
        path=path,
        cause=_causes(cause),
        step="prepare" if step == "prepare" else "accept",
        ballot=ballot,
        was_promised=known(register.promised),
        was_accepted=known(register.accepted),
        was_generation=register.generation,
    )
    return Step(register, False, refusal)


def _causes(cause: str) -> tuple[str, ...]:
    return (cause,) if cause else ()
