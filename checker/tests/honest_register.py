"""Histories of one path, for tests: of a register that does what it should, and of one that answers at random.

`honest_histories` runs clients against a sequential register: each attempt of an operation takes effect at one instant
between its sending and its answer (or at any later time, or never, if the answer was lost).
`explainable` is the definition of linearizability, by trying everything: the oracle for small histories.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from checker.operations import Operation

PATH = "a/b"
CONDITIONS = ("absent", "exists", "etag_is", "etag_is_not", "generation_is")


def sha256_of(write_id: str) -> str:
    return hashlib.sha256(write_id.encode()).hexdigest()


def etag_of(write_id: str) -> str:
    return hashlib.md5(write_id.encode()).hexdigest()


@dataclass(frozen=True)
class Head:
    generation: int = 0
    deleted: bool = False
    write_id: str = ""

    @property
    def live(self) -> bool:
        return self.generation > 0 and not self.deleted

    @property
    def etag(self) -> str | None:
        return etag_of(self.write_id) if self.live else None


@dataclass(frozen=True)
class Register:
    """The sequential specification: every operation returns the register after it, and the answer."""

    head: Head = Head()
    recent: tuple[tuple[str, Head], ...] = ()

    def apply(self, operation: Operation) -> tuple["Register", Operation]:
        head = self.head
        if operation.kind == "list":
            paths = [(PATH, head.generation)] if head.generation else []
            return self, msgspec.structs.replace(operation, status=200, paths=paths)
        if operation.kind == "get":
            status = 200 if head.live else 410 if head.deleted else 404
            return self, self._answer(operation, status, head)
        replayed = dict(self.recent).get(operation.write_id or "")
        if replayed is not None:
            return self, self._answer(operation, 200, replayed)
        held = {
            "none": True,
            "absent": not head.live,
            "exists": head.live,
            "etag_is": head.live and head.etag == operation.condition_etag,
            "etag_is_not": not head.live or head.etag != operation.condition_etag,
            "generation_is": head.generation == operation.condition_generation,
        }
        if not held[operation.condition]:
            return self, msgspec.structs.replace(operation, outcome="failed", status=412)
        if operation.kind == "delete" and not head.live:
            if head.generation == 0:
                return self, msgspec.structs.replace(operation, outcome="failed", status=404, generation=0)
            return self, self._answer(operation, 200, head)
        after = Head(head.generation + 1, operation.kind == "delete", operation.write_id or "")
        return Register(after, (*self.recent, (after.write_id, after))), self._answer(operation, 201, after)

    @staticmethod
    def _answer(operation: Operation, status: int, head: Head) -> Operation:
        sha256 = sha256_of(head.write_id) if head.live and operation.kind == "get" else operation.sha256
        return msgspec.structs.replace(
            operation,
            status=status,
            generation=head.generation,
            deleted=head.deleted,
            etag=head.etag,
            sha256=sha256,
        )


# -- honest -----------------------------------------------------------------------------------------------------------


@dataclass
class _Client:
    name: str
    free_at: int = 0
    count: int = 0
    finished: list[Operation] = field(default_factory=list)


@st.composite
def honest_histories(draw: st.DrawFn, operations_max: int = 25, refusals: bool = True) -> list[Operation]:
    """What clients of a correct register recorded, in the order of their invokes."""
    small = st.integers(0, 12)
    clients = [_Client(f"c{number}") for number in range(draw(st.integers(1, 4)))]
    planned: list[Operation] = []
    attempts: list[tuple[int, int]] = []  # (when it takes effect, which operation)
    etags = [etag_of(f"c{client}-{count}") for client in range(2) for count in range(1, 4)]
    for number in range(draw(st.integers(1, operations_max))):
        client = draw(st.sampled_from(clients))
        client.count += 1
        invoke_us = client.free_at + draw(small)
        kind = draw(st.sampled_from(["put", "put", "get", "get", "delete", "list", "replay"]))
        if kind == "replay" and client.finished:
            operation = msgspec.structs.replace(
                draw(st.sampled_from(client.finished)), op=client.count, invoke_us=invoke_us
            )
            attempts_made = 1
        else:
            kind = "get" if kind == "replay" else kind
            operation = _plan(draw, kind, client, invoke_us, etags if refusals else [], refusals)
            attempts_made = draw(st.integers(1, 2)) if operation.is_write else 1
        effects = sorted(invoke_us + draw(small) for _ in range(attempts_made))
        attempts += [(at, number) for at in effects]
        if operation.is_write and draw(st.integers(0, 5)) == 0:
            operation = msgspec.structs.replace(operation, outcome="unknown")
            if draw(st.booleans()):  # the request was lost, not the answer
                attempts = [attempt for attempt in attempts if attempt[1] != number]
            client.free_at = invoke_us + draw(small)
        else:
            operation = msgspec.structs.replace(operation, return_us=effects[-1] + draw(small))
            client.free_at = effects[-1] + 12
            if operation.kind == "put":
                client.finished.append(operation)
        planned.append(operation)
    return _carry_out(planned, attempts)


def _plan(draw: st.DrawFn, kind: str, client: _Client, invoke_us: int, etags: list[str], refusals: bool) -> Operation:
    write_id = f"{client.name}-{client.count}" if kind in ("put", "delete") else None
    condition, etag, generation = "none", None, None
    if write_id and refusals:
        condition = draw(st.sampled_from(["none", "none", *CONDITIONS]))
        etag = draw(st.sampled_from(etags)) if condition.startswith("etag") else None
        generation = draw(st.integers(0, 4)) if condition == "generation_is" else None
    return Operation(
        client=client.name,
        op=client.count,
        kind=kind,  # type: ignore[arg-type]
        path=PATH,
        invoke_us=invoke_us,
        return_us=None,
        outcome="ok",
        write_id=write_id,
        condition=condition,
        condition_etag=etag,
        condition_generation=generation,
        sha256=sha256_of(write_id) if kind == "put" and write_id else None,
    )


def _carry_out(planned: Sequence[Operation], attempts: list[tuple[int, int]]) -> list[Operation]:
    """All attempts in the order of their instants; an operation's answer is that of its last attempt."""
    register = Register()
    answered = list(planned)
    for at, number in sorted(attempts):
        register, answer = register.apply(planned[number])
        if planned[number].outcome == "unknown":
            continue
        # An earlier attempt's answer was lost: after that, a refusal is no definite failure (see tracegen/history.py).
        first_of_two = at == min(when for when, which in attempts if which == number)
        in_doubt = [which for _, which in attempts].count(number) > 1 and not first_of_two
        if answer.outcome == "failed" and in_doubt:
            answer = msgspec.structs.replace(planned[number], outcome="unknown", return_us=None)
        answered[number] = answer
    return sorted(answered, key=lambda operation: operation.invoke_us)


# -- at random --------------------------------------------------------------------------------------------------------


@st.composite
def arbitrary_histories(draw: st.DrawFn, operations_max: int = 6) -> list[Operation]:
    """Puts and gets that were answered with anything; most such histories are wrong, in every way there is."""
    history = []
    for number in range(draw(st.integers(1, operations_max))):
        invoke_us = draw(st.integers(0, 20))
        return_us = invoke_us + draw(st.integers(0, 8))
        generation = draw(st.integers(0, 3))
        common: dict[str, Any] = {"client": f"c{number}", "op": 1, "path": PATH, "invoke_us": invoke_us}
        write_id = f"w{number}"
        match draw(st.sampled_from(["put", "put_absent", "unknown", "get", "get"])):
            case "get":
                written = draw(st.sampled_from([f"w{other}" for other in range(operations_max)]))
                operation = Operation(
                    **common,
                    kind="get",
                    return_us=return_us,
                    outcome="ok",
                    status=200 if generation else 404,
                    generation=generation,
                    deleted=False,
                    etag=etag_of(written) if generation else None,
                    sha256=sha256_of(written) if generation else None,
                )
            case "unknown":
                operation = Operation(
                    **common,
                    kind="put",
                    return_us=None,
                    outcome="unknown",
                    write_id=write_id,
                    sha256=sha256_of(write_id),
                )
            case kind:
                operation = Operation(
                    **common,
                    kind="put",
                    return_us=return_us,
                    outcome="ok",
                    status=201,
                    write_id=write_id,
                    sha256=sha256_of(write_id),
                    condition="absent" if kind == "put_absent" else "none",
                    generation=generation + 1,
                    deleted=False,
                    etag=etag_of(write_id),
                )
        history.append(operation)
    return history


def explainable(history: Sequence[Operation]) -> bool:
    """Is there an order of these operations that respects real time, and in which a register gives these answers?"""

    def search(left: frozenset[int], register: Register) -> bool:
        if all(history[at].outcome == "unknown" for at in left):
            return True
        first_return = min(_return_us(history[at]) for at in left)
        for at in left:
            operation = history[at]
            if operation.invoke_us > first_return:
                continue
            after, answer = register.apply(operation)
            fits = operation.outcome == "unknown" or (
                answer.outcome == operation.outcome
                and answer.generation == operation.generation
                and answer.etag == operation.etag
                and answer.sha256 == operation.sha256
            )
            if fits and search(left - {at}, after):
                return True
        return False

    return search(frozenset(range(len(history))), Register())


def _return_us(operation: Operation) -> float:
    return float("inf") if operation.return_us is None else operation.return_us
