"""The command line: what a user's mistake costs (a line and exit code 2), and what --help and list say."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tracegen.cli import app
from tracegen.mutants import MUTANTS
from tracegen.scenario import names

COMMANDS = ("run", "list", "describe", "demo", "mutants", "sim", "clean", "soak", "replay", "rejudge")


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_the_exit_codes(command: str) -> None:
    code, text = said(command, "--help")
    assert code == 0
    assert f"Example: tracegen {command}" in text
    assert "Exit code" in text


def test_list_names_every_scenario() -> None:
    code, text = said("list")
    assert code == 0
    assert all(f"  {name} " in text for name in names())


def test_describe_tells_when_the_faults_of_a_seed_come() -> None:
    code, text = said("describe", "demo", "--seed", "3")
    assert code == 0
    assert "kill n1 for 1 s, in the middle of a write" in text
    assert "seed 3" in text


def test_describe_tells_what_archive_is_behind_the_cluster() -> None:
    code, text = said("describe", "archive-throttling")
    assert code == 0
    assert (
        "archive   s3, write_back; archive-throttling/k000...: write_through; archive-throttling/k001...: none" in text
    )
    assert "archive_throttle n1, n2, n3 for 3 s" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "no-such"), "no scenario is called 'no-such'; there are: "),
        (("describe", "no-such"), "no scenario is called 'no-such'; there are: "),
        (("run", "quiet", "--backend", "podman"), "--backend is 'podman'"),
        (("run", "quiet", "--mutant", "no-such"), "no mutant is called 'no-such'; there are: " + MUTANTS[0]),
        (("mutants", "--only", "no-such"), "no mutant is called 'no-such'"),
        (("mutants", "--seeds", "many"), "--seeds is 'many'; use a number such as 7, or a range such as 1..50"),
        (("mutants", "--seeds", "9..3"), "--seeds is '9..3'; use a range that goes up"),
    ],
)
def test_a_mistake_is_answered_with_a_line_that_helps(arguments: tuple[str, ...], says: str) -> None:
    code, text = said(*arguments)
    assert code == 2
    assert says in text
    assert "Traceback" not in text


def test_a_run_directory_that_is_in_use_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep me")
    code, text = said("run", "quiet", "--out", str(tmp_path))
    assert code == 2
    assert "there is something already" in text
    assert (tmp_path / "precious").read_text() == "keep me"
