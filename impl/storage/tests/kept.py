"""The model of a store: what registers and parts it must have, by what it has answered, and what it may have besides.

While all is well the store answers as these dicts do, and each step finds what the one before it on its path left.
After trouble a path has what was acknowledged, or something that was asked for after it; and the events that are kept
say the same as the registers do.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from impl.errors import AmberioError
from impl.model import VIRGIN, Ballot, Head, Register, Rows
from impl.storage.database import without_body
from impl.storage.tests.bursts import PATHS, Burst, slot_of
from impl.storage.uses import Part


class KeptRegisters:
    """The registers by their paths; one that is not named is VIRGIN."""

    def __init__(self) -> None:
        self.registers: dict[str, Register] = {}
        self.at_start: dict[str, Register] = {}

    def of(self, path: str) -> Register:
        return self.registers.get(path, VIRGIN)

    def start(self) -> None:
        """A process begins with what is there."""
        self.at_start = dict(self.registers)

    def scan(self, prefix: str, after: str | None, limit: int) -> Rows:
        wanted = [
            (path, _unbodied(register))
            for path, register in sorted(self.registers.items(), key=lambda item: item[0].encode())
            if path.startswith(prefix) and (after is None or path.encode() > after.encode())
        ]
        return Rows(wanted[:limit], has_more=len(wanted) >= limit)

    def heads(self, slot: int) -> dict[str, Head | None]:
        return {
            path: _unbodied(register).head
            for path, register in self.registers.items()
            if register.head is not None and slot_of(path) == slot
        }

    def settle(self, burst: Burst, is_dead: bool) -> list[AmberioError]:
        """Take over what was answered, in the order in which it came; what was refused."""
        waiting = {path: [step for step in burst.asked if step.path == path and step.what != "read"] for path in PATHS}
        published = {path: [self.of(path)] for path in PATHS}
        refused: list[AmberioError] = []
        for step, answer in burst.heard:
            if isinstance(answer, Register):
                continue
            if isinstance(answer, AmberioError):
                refused.append(answer)
            if step.what != "read":
                place = next(place for place, other in enumerate(waiting[step.path]) if other is step)
                del waiting[step.path][place]
                assert place == 0 or answer in refused, "the steps of a path are answered in order"
            if isinstance(answer, AmberioError):
                continue
            found = self.of(step.path)
            wanted = step.decide(found)
            assert (answer.found, answer.register, answer.taken) == (found, wanted.register, wanted.taken)
            if answer.taken:
                self.registers[step.path] = answer.register
                published[step.path].append(answer.register)
        for step, answer in burst.heard:
            if isinstance(answer, Register) and not is_dead:
                assert answer in published[step.path], "nobody sees a state before it is on disk"
        return refused

    def learn(self, burst: Burst, before: Mapping[str, Register], left: Mapping[str, Register]) -> None:
        """Take over what trouble left.

        A path has what was acknowledged, or what was asked for later; and what was read of it, it still has.
        """
        for path in PATHS:
            chain = [before.get(path, VIRGIN)]
            for step in burst.asked:
                if step.path == path and step.what != "read":
                    chain.append(step.decide(chain[-1]).register)
            heard = [self.of(path)]
            heard += [got for step, got in burst.heard if step.path == path and isinstance(got, Register)]
            assert left[path] in chain, "nothing is there that nobody asked for"
            last = len(chain) - 1 - chain[::-1].index(left[path])
            assert all(chain.index(register) <= last for register in heard), "what was answered outlives trouble"
            if left[path] != VIRGIN:
                self.registers[path] = left[path]

    def check_events(
        self, left: Mapping[int, dict[str, Any]], told: list[tuple[int, dict[str, object]]], traced: int
    ) -> None:
        """The events since the start that were written, up to `traced`, or are left say what the registers say."""
        assert list(left) == sorted(left)
        assert all(left[number] == event for number, event in told if number > traced), (
            "an event was forgotten too soon"
        )
        last = {event["path"]: event for _, event in sorted({**dict(told), **left}.items())}
        for path in PATHS:
            register = self.of(path)
            if path not in last:
                assert register == self.at_start.get(path, VIRGIN)
                continue
            ballot = msgspec.convert(last[path]["ballot"], Ballot)
            assert ballot == (register.accepted if last[path]["event"] == "Accept" else register.promised)


class KeptParts:
    """Which parts are there, whole or not, and who uses them. `unused` has since when a part was seen unused."""

    def __init__(self) -> None:
        self.is_whole: dict[Part, bool] = {}
        self.unused: dict[Part, float] = {}
        self.held: Counter[Part] = Counter()

    def start(self) -> None:
        """Nobody remembers over a restart who uses what."""
        self.unused, self.held = {}, Counter()

    @property
    def whole(self) -> list[Part]:
        return sorted(part for part, is_whole in self.is_whole.items() if is_whole)

    def in_slot(self, slot: int) -> list[Part]:
        return sorted(part for part in self.is_whole if part[0] == slot)

    def used(self, part: Part) -> None:
        self.unused.pop(part, None)

    def seen(self, named: set[Part], unused: set[Part], now_s: float) -> dict[Part, float]:
        """A look has found these; since when those of them are unused that are."""
        for part in named:
            self.used(part)
        for part in unused - self.held.keys():
            self.unused.setdefault(part, now_s)
        return {part: since_s for part, since_s in self.unused.items() if part in unused}

    def hold(self, part: Part) -> bool:
        """Hold it; True if it is there."""
        self.held[part] += 1
        self.used(part)
        return part in self.is_whole

    def let_go(self, part: Part) -> None:
        self.held -= Counter([part])

    def discard(self, part: Part) -> bool:
        """Only what was seen unused goes, and not if anybody has put, read or held it since; True if it is gone."""
        is_gone = part in self.unused and part in self.is_whole
        self.used(part)
        if is_gone:
            del self.is_whole[part]
        return is_gone


def _unbodied(register: Register) -> Register:
    if register.head is None:
        return register
    return Register(register.promised, register.accepted, without_body(register.head))
