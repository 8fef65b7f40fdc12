"""The measure of the harness: what counts as caught, as escaped and as accused, and what the exit code says."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from tracegen import mutants
from tracegen.checking import Verdict
from tracegen.cli import app
from tracegen.mutants import MUTANTS, Trial
from tracegen.scenario import Scenario

Result = Literal["accepted", "refused", "unchecked"]


class Trials:
    """Stands in for runs: `broken` says what becomes of a mutant with a seed, `unbroken` of the honest server."""

    def __init__(self, broken: Any, unbroken: Any = lambda scenario, seed: "accepted") -> None:
        self.made: list[tuple[str | None, str, int]] = []
        self._broken = broken
        self._unbroken = unbroken

    async def __call__(
        self, scenario: Scenario, seed: int, mutant: str | None, backend: str, runs: Path, say: object
    ) -> Trial:
        self.made.append((mutant, scenario.name, seed))
        result: Result = self._broken(mutant, seed) if mutant else self._unbroken(scenario.name, seed)
        return Trial(mutant, scenario.name, seed, result, "trace", 100, 7, 1.0, "why", str(runs))


def measured(monkeypatch: pytest.MonkeyPatch, trials: Trials, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(mutants, "_try", trials)
    result = CliRunner().invoke(app, ["mutants", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_all_caught_and_none_accused_is_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "refused")
    code, text = measured(monkeypatch, trials, "--seeds", "1..20")
    assert code == 0
    assert f"{len(MUTANTS)} of {len(MUTANTS)} mutants caught" in text
    assert "honest server: 20 of 20 runs accepted" in text
    honest = [(scenario, seed) for mutant, scenario, seed in trials.made if mutant is None]
    assert [seed for _, seed in honest] == list(range(1, 21))
    assert {scenario for scenario, _ in honest} == {f"mutant-{mutant}" for mutant in MUTANTS}


def test_a_mutant_that_needs_another_seed_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "refused" if seed == 2 else "accepted")
    code, _ = measured(monkeypatch, trials, "--only", "quorum-of-one")
    assert code == 0
    assert [seed for _, _, seed in trials.made] == [1, 2]


def test_a_mutant_that_escapes_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "accepted" if mutant == "reuse-generation" else "refused")
    code, text = measured(monkeypatch, trials)
    assert code == 1
    assert "reuse-generation, seed 3: ESCAPED with 3 seeds" in text
    assert f"{len(MUTANTS) - 1} of {len(MUTANTS)} mutants caught" in text


def test_an_honest_server_that_is_accused_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "refused", lambda scenario, seed: "refused" if seed == 3 else "accepted")
    code, text = measured(monkeypatch, trials, "--seeds", "1..20")
    assert code == 1
    assert "ACCUSED by the trace" in text
    assert "honest server: 19 of 20 runs accepted" in text


def test_a_run_without_a_verdict_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "refused", lambda scenario, seed: "unchecked")
    code, text = measured(monkeypatch, trials)
    assert code == 2
    assert "NO VERDICT: why" in text


def test_one_seed_still_gives_every_scenario_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(lambda mutant, seed: "refused")
    measured(monkeypatch, trials, "--seeds", "5")
    assert len({scenario for mutant, scenario, _ in trials.made if mutant is None}) == len(MUTANTS)


def test_json_is_all_that_is_printed_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "_try", Trials(lambda mutant, seed: "refused"))
    result = CliRunner().invoke(app, ["mutants", "--only", "quorum-of-one", "--json"])
    (trial,) = json.loads(result.stdout)
    assert (trial["mutant"], trial["result"], trial["first_refused"]) == ("quorum-of-one", "refused", 7)


def test_two_verdicts_do_not_share_their_lists() -> None:
    first, second = Verdict("accepted"), Verdict("accepted")
    assert first.refused is not second.refused
