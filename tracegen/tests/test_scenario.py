"""Scenario files: what comes with the harness is sound, and a bad file is told all its faults at once."""

import tomllib
from pathlib import Path

import pytest

from tracegen import scenario as scenarios
from tracegen.errors import ScenarioError
from tracegen.mutants import MUTANTS
from tracegen.nemesis.inject import NEMESES
from tracegen.scenario import Scenario

BEGIN = 'name = "x"\nsays = "something"\nduration_s = 8.0\n'


def parsed(text: str) -> Scenario:
    return scenarios.parse(tomllib.loads(BEGIN + text), Path("x.toml"))


def faults_of(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        parsed(text)
    return [line.removeprefix("x.toml: ") for line in str(error.value).splitlines()]


@pytest.mark.parametrize("name", scenarios.names())
def test_a_scenario_that_comes_with_the_harness_has_the_name_of_its_file_and_loads_long_enough(name: str) -> None:
    found = scenarios.find(name)
    assert found.path.stem == found.name
    assert 3.0 <= found.duration_s <= 12.0
    assert all(fault.ends_s <= found.duration_s for fault in found.faults)


def test_the_scenarios_together_use_every_nemesis() -> None:
    used = {fault.nemesis for name in scenarios.names() for fault in scenarios.find(name).faults}
    assert used == set(NEMESES)


def test_every_mutant_has_a_scenario() -> None:
    assert {f"mutant-{mutant}" for mutant in MUTANTS} <= set(scenarios.names())


def test_what_a_file_leaves_out_has_a_sensible_default() -> None:
    found = parsed("")
    assert found.cluster.node_ids == ("n1", "n2", "n3")
    assert (found.cluster.factor, found.cluster.min_write_replicas) == (3, 2)
    assert found.workload.mix["get"] > 0
    assert found.faults == ()


def test_every_fault_of_a_bad_file_is_listed_at_once() -> None:
    lines = faults_of(
        """
        colour = "red"
        [cluster]
        nodes = 3
        factor = 5
        [workload]
        think_ms = "fast"
        clients_per_nod = 3
        mix = { putt = 1, get = 1 }
        [[faults]]
        nemesis = "earthquake"
        [[faults]]
        nemesis = "kill"
        target = "n7"
        delay_ms = 5
        """
    )
    for said in (
        "cluster.factor is 5; there are 3 nodes: use 1 to 3",
        "workload.think_ms is 'fast'; use a number from 0 to 60000",
        "workload.clients_per_nod is not a key here; did you mean clients_per_node?",
        "workload.mix.putt is not a key here; did you mean put?",
        "faults[0].nemesis is 'earthquake'; use one of",
        "faults[1].target is 'n7'; use one of",
        "faults[1].delay_ms does nothing for kill; leave it out; it is for delay",
        "colour is not a key here",
    ):
        assert any(line.startswith(said) for line in lines), (said, lines)
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[faults]]\nnemesis = "kill"\nat_s = 7.5\nfor_s = 1.0', "faults[0].at_s is 7.5; it may last until 8.5 s"),
        ('[[faults]]\nnemesis = "kill"\ntarget = "all"', "faults[0].target is 'all'; only delay, drop"),
        (
            '[[faults]]\nnemesis = "kill"\ntimes = 2\nevery_s = 0.5',
            "faults[0].every_s is 0.5; injections would overlap",
        ),
        ("[workload]\nmix = { put = 0 }", "workload.mix has no weight above 0"),
        ("[[workload.sizes]]\nmin_bytes = 9\nmax_bytes = 3", "workload.sizes[0].max_bytes is 3; min_bytes is 9"),
        ("[workload]\nkeys = 3\nhot_keys = 4", "workload.hot_keys is 4; there are 3 keys"),
        ("[cluster]\nnodes = true", "cluster.nodes is True; use a whole number"),
        ("[[cluster]]\nnodes = 3", "cluster is [{'nodes': 3}]; use a table"),
    ],
)
def test_a_fault_says_the_key_the_value_and_what_would_be_right(text: str, said: str) -> None:
    (line,) = faults_of(text)
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[workload]\nversioning = "enabled"', "workload.versioning does nothing for native; leave it out"),
        ('[workload]\napi = "s4"', "workload.api is 's4'; use one of native, s3"),
        (
            '[workload]\napi = "s3"\nversioning = "on"',
            "workload.versioning is 'on'; use one of off, enabled, suspended",
        ),
        ("[workload]\nmix = { tag = 1, get = 1 }", "workload.mix.tag is not a key here"),
        (
            '[workload]\napi = "s3"\nmix = { put_if_generation = 1, get = 1 }',
            "workload.mix.put_if_generation is not a key",
        ),
        (
            'prefix = "No Bucket/"\n[workload]\napi = "s3"',
            "prefix makes 'No Bucket' the bucket; use 3 to 63 lower-case",
        ),
    ],
)
def test_what_an_api_does_not_have_is_a_fault(text: str, said: str) -> None:
    (line,) = [line for line in faults_of(f'prefix = "a-bucket/"\n{text}' if "prefix" not in text else text)]
    assert line.startswith(said)


ARCHIVE = 'kind = "s3"\nmode = "write_back"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[archive]\nkind = "tape"', "archive.kind is 'tape'; use one of none, s3, directory"),
        ('[archive]\nkind = "s3"', "archive.mode is missing; use one of none, write_through, write_back"),
        ('[archive]\nkind = "s3"\nmode = "none"', "archive.mode is 'none'; nothing would go to the archive"),
        (
            '[archive]\nmode = "write_back"',
            'archive.mode does nothing without an archive; leave it out, or use kind = "s3"',
        ),
        (
            f"[archive]\n{ARCHIVE}evict_above = 3",
            "archive.evict_above is not a key here; did you mean evict_above_bytes?",
        ),
        (
            f'[archive]\n{ARCHIVE}rules = [{{ prefix = "other/", mode = "none" }}]',
            "archive.rules[0].prefix is 'other/'; no key begins so: they all begin with 'x/'",
        ),
        (f"[archive]\n{ARCHIVE}settings = {{ mode = 1 }}", "archive.settings.mode has a place of its own; say mode in"),
        (f"[archive]\n{ARCHIVE}settings = {{ s3 = 1 }}", "archive.settings.s3 is the harness's to say; leave it out"),
        (
            f"[archive]\n{ARCHIVE}settings = {{ a = [] }}",
            "archive.settings.a is []; use a text, a number, or true or false",
        ),
        ('[[faults]]\nnemesis = "archive_down"', "faults[0].nemesis is archive_down; it breaks the way to an S3"),
        (
            '[archive]\nkind = "directory"\nmode = "write_back"\n[[faults]]\nnemesis = "archive_late"',
            "faults[0].nemesis is archive_late; it breaks the way to an S3",
        ),
        (
            f'[archive]\n{ARCHIVE}request_life_s = 1\n[[faults]]\nnemesis = "archive_late"',
            "faults[0].late_s is 2; archive.request_life_s is 1, and the archive refuses what is older: use less",
        ),
        (
            f'[archive]\n{ARCHIVE}[[faults]]\nnemesis = "archive_down"\nshare = 0.1',
            "faults[0].share does nothing for archive_down; leave it out; it is for archive_throttle",
        ),
    ],
)
def test_a_fault_of_the_archive_says_the_key_the_value_and_what_would_be_right(text: str, said: str) -> None:
    (line,) = faults_of(text)
    assert line.startswith(said)


def test_the_longest_rule_says_what_becomes_of_a_path_and_nodes_are_told_all_of_it() -> None:
    rules = 'rules = [{ prefix = "x/k", mode = "none" }, { prefix = "x/k00", mode = "write_through" }]'
    archive = parsed(f"[archive]\n{ARCHIVE}{rules}\nevict_above_bytes = 9\nsettings = {{ takeover_s = 1.5 }}").archive
    assert [archive.mode_of(path) for path in ("x/other", "x/k1", "x/k001")] == ["write_back", "none", "write_through"]
    assert archive.node_config({"s3": {}}) == {
        "archive_type": "s3",
        "mode": "write_back",
        "key_prefix": "cluster/",
        "s3": {},
        "rules": [{"prefix": "x/k", "mode": "none"}, {"prefix": "x/k00", "mode": "write_through"}],
        "evict_above_bytes": 9,
        "request_life_s": 5.0,
        "takeover_s": 1.5,
    }


def test_a_name_that_no_scenario_has_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario is called 'kil-one'; there are: .*kill-one"):
        scenarios.find("kil-one")


def test_a_file_that_is_not_toml_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = ")
    with pytest.raises(ScenarioError, match=r"mine\.toml: is not TOML"):
        scenarios.find(str(file))
    with pytest.raises(ScenarioError, match="no such file"):
        scenarios.find(str(tmp_path / "other.toml"))
