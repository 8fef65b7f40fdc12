"""Links between lives: nobody listens to a disk that was lost, and whoever is listened to is known to live."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from impl.cluster import lives
from impl.cluster.peers import Peers
from impl.cluster.tests.rig import Answering, KnownDouble, is_up, peers_of, read, until
from impl.cluster.wire import Kind
from impl.errors import AmberioError, PeerError
from impl.protocol.messages import Reply


@asynccontextmanager
async def linked(asker: KnownDouble, answerer: KnownDouble) -> AsyncIterator[tuple[Peers, Answering]]:
    """n1 dials n2, and what each disk knows."""
    answering = Answering()
    answering.known = answerer
    await answering.start()
    peers = peers_of(answering.port, known=asker)
    peers.open()
    try:
        yield peers, answering
    finally:
        await peers.close()
        await answering.stop()


def tell(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


@pytest.mark.parametrize("slow", ["asker", "answerer"])
def test_a_first_life_is_durable_at_both_ends_before_anything_is_said(slow: str) -> None:
    async def story() -> None:
        asker, answerer = KnownDouble(), KnownDouble()
        (asker if slow == "asker" else answerer).gate.clear()
        async with linked(asker, answerer) as (peers, answering):
            await asyncio.sleep(0.2)
            assert not is_up(peers)
            asker.gate.set()
            answerer.gate.set()
            await until(lambda: is_up(peers))
            assert asker.lives == {"n2": 1} and answerer.lives == {"n1": 1}
            assert set(answering.dialled) == {"n1"}

    tell(story())


@pytest.mark.parametrize(
    ("asker", "answerer"),
    [(KnownDouble(1), KnownDouble(1, n1=2)), (KnownDouble(1, n2=3), KnownDouble(2, n1=1))],
    ids=["who is dialled knows", "who dials knows"],
)
def test_an_earlier_disk_is_refused_with_one_clear_line(
    asker: KnownDouble, answerer: KnownDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Log:
        """In place of the logger, which others may have configured to be quiet."""

        def warning(self, event: str, *, peer: str, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(lives, "log", Log())

    async def story() -> None:
        async with linked(asker, answerer) as (peers, _):
            await until(lambda: bool(told))
            await asyncio.sleep(0.2)
            assert not is_up(peers)
        assert len(told) == 1 and " is an earlier disk of n" in told[0], told

    tell(story())


def test_a_later_life_may_link_but_is_only_learnt_by_meeting() -> None:
    async def story() -> None:
        asker, answerer = KnownDouble(2, n2=1), KnownDouble(1, n1=1)
        async with linked(asker, answerer) as (peers, answering):
            await until(lambda: is_up(peers))
            assert answerer.lives == {"n1": 1}
            met = []

            def on_meet(node: str, cause: str, slots: tuple[int, ...] | None) -> str:
                assert answerer.lives == {"n1": 2} and answering.left == [("n1", 2)], "durable, and left, by now"
                met.append((node, cause, slots))
                return "n2.1.9"

            answering.server.on_meet = on_meet
            assert await peers.meet("n2", 2, "n1.1048577.3", None, 5.0) == "n2.1.9"
            answering.left.clear()
            assert await peers.meet("n2", 2, "n1.1048577.3", None, 5.0) == "n2.1.9", "to meet again does no harm"
            assert met == [("n1", "n1.1048577.3", None)] * 2 and is_up(peers)

    tell(story())


def test_whoever_meets_a_node_hears_no_more_of_its_earlier_lives() -> None:
    async def story() -> None:
        answerer = KnownDouble(1)
        async with linked(KnownDouble(1), answerer) as (earlier, answering):
            await until(lambda: is_up(earlier))
            later = peers_of(answering.port, known=KnownDouble(2))
            later._control["n2"]._name = "control of life 2"  # that a node dials anew closes nothing here
            later._bulk["n2"]._name = "bulk of life 2"
            later.open()
            await until(lambda: is_up(later))
            assert is_up(earlier)
            await later.meet("n2", 2, "", None, 5.0)
            await until(lambda: not is_up(earlier))
            assert is_up(later)
            with pytest.raises(PeerError):
                await earlier.meet("n2", 1, "", None, 0.5)
            await later.close()

    tell(story())


def test_what_was_asked_of_an_earlier_life_fails_when_a_later_one_is_met() -> None:
    async def story() -> None:
        async with linked(KnownDouble(1, n2=1), KnownDouble(1)) as (peers, _):
            await until(lambda: is_up(peers))
            answers: list[Reply | AmberioError] = []
            peers.start(["n2"], read("never", "q"), 60.0, lambda node, reply: answers.append(reply))
            peers.leave_earlier("n2", 1)
            assert not answers and is_up(peers)
            peers.leave_earlier("n2", 2)
            assert len(answers) == 1 and "it was in its life 1, and is in its life 2" in str(answers[0])

    tell(story())


def test_the_unborn_may_ask_which_life_is_known_and_nothing_else() -> None:
    async def story() -> None:
        async with linked(KnownDouble(0), KnownDouble(1, n1=4)) as (peers, answering):
            await until(lambda: is_up(peers))
            assert await peers.ask_life("n2", 5.0) == 4
            assert not answering.dialled, "it is not there yet"
            with pytest.raises(PeerError):
                await peers._control["n2"].converse(Kind.DIGESTS, b"", 5.0)
            with pytest.raises(PeerError):
                await peers.meet("n2", 5, "", None, 5.0)
            assert answering.known.lives == {"n1": 4}

    tell(story())


def test_a_node_that_is_not_born_lets_in_others_like_it_only() -> None:
    async def story() -> None:
        async with linked(KnownDouble(0), KnownDouble(0)) as (peers, _):
            await until(lambda: is_up(peers))
            assert await peers.ask_life("n2", 5.0) == 0
        async with linked(KnownDouble(1), KnownDouble(0)) as (peers, _):
            await asyncio.sleep(0.2)
            assert not is_up(peers)

    tell(story())
