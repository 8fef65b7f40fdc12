"""`tracegen sim`: what it finds, what it keeps, what it prints, and what its exit code says."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tracegen.checking import Checked, Verdict
from tracegen.cli import app
from tracegen.swarm import command, trial
from tracegen.swarm.pool import try_seeds
from tracegen.swarm.trial import Outcome, try_seed

WAIT_S = 30.0


def said(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sim", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_honest_seeds_have_no_finding_and_leave_nothing_behind(tmp_path: Path) -> None:
    code, text, _ = said("--seeds", "1..6", "--jobs", "1", "--tlc-every", "0", "--keep", str(tmp_path / "sim"))
    assert code == 0, text
    assert "runs        6 in" in text and "failures    0" in text
    assert not (tmp_path / "sim").exists()


def test_a_mutant_that_some_seed_shows_is_a_success_and_its_runs_are_kept_whole(tmp_path: Path) -> None:
    keep = tmp_path / "sim"
    arguments = ("--seeds", "1..4", "--jobs", "1", "--tlc-every", "0", "--mutant", "quorum-of-one", "--keep", str(keep))
    code, text, _ = said(*arguments)
    assert code == 0, text
    kept = sorted(keep.iterdir())
    assert kept and f"FAILS, says the trace; kept in {kept[0]}" in text.replace("trace and the history", "trace")
    assert {"run.json", "scenario.toml", "history.ndjson", "traces"} <= {file.name for file in kept[0].iterdir()}


def test_a_mutant_that_no_seed_shows_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "try_seeds", lambda seeds, *_: (Outcome(seed=seed) for seed in seeds))
    assert said("--seeds", "1..3", "--jobs", "1", "--mutant", "quorum-of-one", "--keep", str(tmp_path))[0] == 1


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    def facts(jobs: int) -> list[tuple[int, int, int, dict[str, int]]]:
        outcomes = try_seeds(range(1, 25), (), tmp_path / str(jobs), jobs)
        return sorted((one.seed, one.operations, one.events, one.faults) for one in outcomes)

    assert facts(2) == facts(1)


def test_a_run_that_is_wanted_is_kept_although_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    kept = [one for one in try_seeds(range(1, 11), (), tmp_path, 1, want_every=5) if one.kept]
    assert 1 <= len(kept) <= 2
    assert all(one.is_adequate and (Path(one.kept) / "run.json").exists() for one in kept)


def test_what_breaks_the_harness_is_an_outcome_and_no_end_of_the_swarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(trial, "simulate", fail)
    outcome = try_seed(1, (), tmp_path)
    assert outcome.is_crash and "a bug of ours" in outcome.found[0]
    code, text, _ = said("--seeds", "1..2", "--jobs", "1", "--keep", str(tmp_path))
    assert code == 2
    assert "seed 2 FAILS, says the harness" in text


@pytest.mark.parametrize(("found", "status"), [(("trace: broken",), "accepted"), ((), "refused")])
def test_tlc_and_the_checks_in_the_loop_must_agree(
    found: tuple[str, ...], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(seed=1, found=found, by=("trace",) if found else (), is_adequate=True, kept=str(tmp_path / "1"))

    async def verify(places: object) -> Checked:
        return Checked(Verdict(status), 0, "", 0.1)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "try_seeds", lambda *_: [outcome])
    monkeypatch.setattr(command, "verify", verify)
    code, text, _ = said("--seeds", "1", "--jobs", "1", "--keep", str(tmp_path))
    assert code == 1
    assert f"{status} by TLC" in text


def test_json_is_all_that_is_printed_on_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome(seed=3, operations=200, faults={"kill": 2}, bit={"kill": 1}, is_adequate=True)
    monkeypatch.setattr(command, "try_seeds", lambda *_: [outcome])
    code, text, _ = said("--seeds", "3", "--json", "--keep", str(tmp_path))
    assert code == 0
    told = json.loads(text)
    assert (told["runs"], told["operations"], told["faults"]) == (1, 200, {"kill": {"struck": 2, "bit": 1}})


def test_the_processes_of_a_swarm_end_with_it_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracegen", "sim", "--seeds", "1..9999", "--jobs", "2", "--keep", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as sim:
        assert sim.stderr is not None and sim.stderr.readline()  # it is at work
        sim.kill()
    end_s = time.monotonic() + WAIT_S
    while of_session(sim.pid):
        assert time.monotonic() < end_s, of_session(sim.pid)
        time.sleep(0.1)


def of_session(leader: int) -> list[str]:
    """The processes of a session that are alive."""
    listed = subprocess.run(["ps", "-e", "-o", "sess=,stat=,pid="], capture_output=True, text=True, check=True)
    lines = (line.split() for line in listed.stdout.splitlines())
    return [pid for session, state, pid in lines if int(session) == leader and not state.startswith("Z")]


def test_no_seeds_at_all_is_a_mistake(tmp_path: Path) -> None:
    code, _, text = said("--seeds", "", "--keep", str(tmp_path))
    assert code == 2 and "--seeds is empty" in text
