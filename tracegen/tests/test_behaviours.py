"""From spec to code (V10): the server's own acceptors, proposer and storage follow behaviours that TLC makes."""

import pytest

from checker.tlc import locate
from tracegen.backend.sim.drive import Driver, Mismatch, WalkStep
from tracegen.behaviours import Told, read, walk


@pytest.fixture(scope="module")
def behaviours() -> list[list[Told]]:
    return list(walk(locate(), 100, 1))


def follow_all(behaviours: list[list[Told]], *mutants: str) -> list[str]:
    parted = []
    driver = Driver(mutants)
    try:
        for behaviour in behaviours:
            try:
                driver.follow([WalkStep(str(told.step[0]), told.step[1:], told.after) for told in behaviour])
            except Mismatch as mismatch:
                parted.append(str(mismatch))
    finally:
        driver.close()
    return parted


def test_the_code_follows_every_behaviour_of_the_spec(behaviours: list[list[Told]]) -> None:
    assert follow_all(behaviours) == []


def test_the_behaviours_take_every_step_that_the_spec_has(behaviours: list[list[Told]]) -> None:
    taken = {str(told.step[0]) for behaviour in behaviours for told in behaviour}
    assert taken == {
        *("Init", "Prepare", "Promise", "RefusePrepare", "Claim", "Propose", "Accept", "Adopt", "RefuseAccept"),
        *("Acknowledge", "ReadBegins", "Report", "Read", "Restart"),
    }


@pytest.mark.parametrize(
    "mutant",
    [
        "accept-below-promise",
        "forget-promise-on-restart",
        "reuse-generation",
        "ignore-write-id",
        "ignore-if-none-match",
        "version-not-kept",
        "newest-version-deleted",
        "null-version-kept",
    ],
)
def test_broken_code_parts_from_the_spec(behaviours: list[list[Told]], mutant: str) -> None:
    assert follow_all(behaviours, mutant) != []


def test_a_state_that_tlc_says_twice_is_one_step() -> None:
    def said(level: int) -> str:
        return f'"<<\\"step\\", {level}, <<\\"Init\\">>, <<<<0, 0, <<0, FALSE, 0, <<>>, <<>>>>>>>>>>"'

    assert [len(behaviour) for behaviour in read([said(1), said(1), said(2), said(2), said(1)])] == [2, 1]
