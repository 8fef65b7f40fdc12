"""Which nodes live, as one of them hears it from their pings (feature R3)."""

import msgspec
import pytest

from impl.cluster.liveness import Liveness
from impl.cluster.wire import Hello, Pulse, encode
from impl.protocol.liveness import SUSPECT_S, UNREACHED_S, VOUCH_S, Rumour

NAMES = ("n1", "n2", "n3")


class ByHand:
    """A clock that goes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


def of(node: str, clock: ByHand, incarnation: int = 1) -> Liveness:
    return Liveness(Hello(node, incarnation), [name for name in NAMES if name != node], clock)


def test_a_node_that_drains_is_not_the_first_live_one_here_and_elsewhere() -> None:
    clock = ByHand()
    own, other = of("n1", clock), of("n2", clock)
    told = []
    own.on_news = lambda: told.append(own.pulse())
    other.heard(own.pulse())
    assert other.first_live(("n3", "n1", "n2")) == "n1" == own.first_live(("n3", "n1", "n2"))
    own.draining = own.draining = True
    assert len(told) == 1, "others hear it at once, and once"
    other.heard(told[0])
    assert other.first_live(("n3", "n1", "n2")) == "n2" and other.status("n1").status == "draining"
    assert other.by_preference(("n3", "n1", "n2")) == ("n2", "n3", "n1")
    assert own.first_live(("n3", "n1")) == "n1" and own.first_live(("n3",)) is None, "rather than nobody"
    own.draining = False
    other.heard(told[1])
    assert other.first_live(("n3", "n1", "n2")) == "n1"


def test_who_is_called_down_says_at_once_that_it_is_not() -> None:
    clock = ByHand()
    own, other = of("n1", clock), of("n2", clock)
    told = []
    own.on_news = lambda: told.append(own.pulse())
    other.heard(own.pulse())
    clock.now_s += UNREACHED_S
    assert [probe.node for probe in other.tick()] == [], "there is nobody else to ask"
    clock.now_s += VOUCH_S
    other.tick()
    assert other.status("n1").status == "suspect" and not other.is_alive("n1")
    clock.now_s += SUSPECT_S
    other.tick()
    assert other.status("n1").status == "down"
    own.heard(other.pulse())
    other.heard(told[0])
    assert other.is_alive("n1")


def test_strangers_are_not_taken_in() -> None:
    own = of("n1", ByHand())
    own.heard(encode(Pulse(Hello("n9", 7), [Rumour("n9", (7, 1), 0), Rumour("n8", (1, 1), 0)])))
    assert not own.is_alive("n9") and own.status("n9").incarnation is None and b"n9" not in own.pulse()
    with pytest.raises(msgspec.DecodeError):
        own.heard(b"no pulse")
