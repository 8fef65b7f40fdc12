"""Listed operations: a bad list is told all its faults, a good one is what the clients do, in its order and time."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from tracegen import scenario as scenarios
from tracegen.backend.sim.session import simulate
from tracegen.errors import ScenarioError
from tracegen.history import Operation
from tracegen.operations import COPIES, KINDS_OF, LISTS, OF_VERSIONS
from tracegen.places import RunPlaces
from tracegen.scenario import Scenario
from tracegen.watch.findings import look

BEGIN = 'name = "story"\nsays = "Somebody writes, somebody reads."\nduration_s = 2.0\n'


def parsed(operations: str, more: str = "") -> Scenario:
    return scenarios.parse(tomllib.loads(f"{BEGIN}operations = [\n{operations}\n]\n{more}"), Path("x.toml"))


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ('{ client = "a", node = "n4", kind = "get", key = "k" }', "operations[0].node is 'n4'; use one of n1, n2, n3"),
        ('{ client = "a", node = "n1", kind = "got", key = "k" }', "operations[0].kind is 'got'; use one of put, get"),
        ('{ client = "a", node = "n1", kind = "get" }', "operations[0].key is missing"),
        ('{ client = "a b", node = "n1", kind = "get", key = "k" }', "operations[0].client is 'a b'; use a name"),
        (
            '{ client = "a", node = "n1", kind = "get", key = "k", size_bytes = 3 }',
            "operations[0].size_bytes does nothing for get",
        ),
        (
            '{ client = "a", node = "n1", kind = "put_replay", key = "k", again = 1 }',
            "operations[0].again is 1; no put before it is a's of that number",
        ),
        (
            '{ client = "a", node = "n1", kind = "get_range", key = "k", span = [5, 2] }',
            "operations[0].span is [5, 2]; use two whole numbers",
        ),
        (
            '{ client = "a", node = "n1", kind = "put", key = "k", then = ["n9"] }',
            "operations[0].then is ['n9']; use a list of at most 10 of n1, n2, n3",
        ),
        ('{ at_s = 2.5, client = "a", node = "n1", kind = "list" }', "operations[0].at_s is 2.5; use a number from 0"),
    ],
)
def test_a_fault_in_a_list_says_the_key_the_value_and_what_would_be_right(operation: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parsed(operation)
    assert str(error.value).startswith(f"x.toml: {said}")
    assert len(str(error.value).splitlines()) == 1


def test_a_list_and_a_drawn_load_exclude_each_other() -> None:
    with pytest.raises(ScenarioError, match=r"workload\.keys does nothing beside \[\[operations\]\]"):
        parsed('{ client = "a", node = "n1", kind = "list" }', "[workload]\nkeys = 3\ndeadline_s = 1.0\n")


def test_a_list_is_done_in_its_order_at_its_times_at_its_nodes(tmp_path: Path) -> None:
    story = parsed(
        """
        { at_s = 0.1, client = "a", node = "n1", kind = "put_if_absent", key = "k", size_bytes = 10 },
        { at_s = 0.2, client = "b", node = "n2", kind = "get", key = "k" },
        { at_s = 0.2, client = "a", node = "n3", kind = "put_replay", key = "k", again = 1 },
        { at_s = 0.3, client = "b", node = "n3", kind = "delete_if_match", key = "k" },
        { at_s = 0.4, client = "b", node = "n1", kind = "list", page = 1 },
        """
    )
    places = RunPlaces(tmp_path / "run")
    report = simulate(story, 1, places)
    assert report.adequate
    assert look(places, report).found == ()
    history = msgspec.json.Decoder(Operation).decode_lines(places.history.read_bytes())
    told = [
        (each.client, each.op, each.kind, each.node, each.condition, each.generation, each.status)
        for each in sorted(history, key=lambda operation: (operation.invoke_us, operation.client))
        if not each.client.startswith("final-")
    ]
    assert told == [
        ("a", 1, "put", "n1", "absent", 1, 201),
        ("a", 2, "put", "n3", "absent", 1, 200),
        ("b", 1, "get", "n2", "none", 1, 200),
        ("b", 2, "delete", "n3", "etag_is", 2, 200),
        ("b", 3, "list", "n1", "none", None, 200),
    ]
    starts = [(each.invoke_us - report.load_from_us) / 1e6 for each in history if each.client in ("a", "b")]
    assert sorted(round(start_s, 3) for start_s in starts) == [0.1, 0.2, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(("api", "kind"), [(api, kind) for api, kinds in KINDS_OF.items() for kind in kinds])
def test_every_kind_can_be_listed_and_an_honest_cluster_answers_it_well(api: str, kind: str, tmp_path: Path) -> None:
    again = ", again = 1" if kind == "put_replay" else ""
    key = "" if kind in LISTS else ', key = "k"'
    source = ', source = "k"' if kind in COPIES else ""
    of = ', made_by = "a/1"' if kind in OF_VERSIONS else ""
    speaks = f'[workload]\napi = "{api}"\n' + ('versioning = "enabled"\n' if api == "s3" else "")
    story = parsed(
        f"""
        {{ at_s = 0.1, client = "a", node = "n1", kind = "put", key = "k", size_bytes = 10 }},
        {{ at_s = 0.2, client = "a", node = "n2", kind = "{kind}"{key}{again}{source}{of} }},
        {{ at_s = 0.3, client = "a", node = "n3", kind = "get", key = "k" }},
        """,
        speaks,
    )
    places = RunPlaces(tmp_path / "run")
    report = simulate(story, 1, places)
    assert report.operations["unknown"] == 0
    assert look(places, report).found == ()


def test_what_clients_do_with_versions_is_written_down_as_the_api_tells_it(tmp_path: Path) -> None:
    story = parsed(
        """
        { at_s = 0.1, client = "a", node = "n1", kind = "put", key = "k", size_bytes = 10 },
        { at_s = 0.2, client = "a", node = "n1", kind = "tag", key = "k" },
        { at_s = 0.3, client = "b", node = "n2", kind = "multipart_if_match", key = "k", size_bytes = 10 },
        { at_s = 0.4, client = "b", node = "n2", kind = "copy", key = "c", source = "k" },
        { at_s = 0.5, client = "a", node = "n1", kind = "delete", key = "k" },
        { at_s = 0.6, client = "a", node = "n3", kind = "get", key = "k" },
        { at_s = 0.7, client = "a", node = "n3", kind = "get_version", key = "k", made_by = "b/1" },
        { at_s = 0.8, client = "b", node = "n3", kind = "delete_version", key = "k", made_by = "a/1" },
        { at_s = 0.9, client = "b", node = "n1", kind = "get_version", key = "k", made_by = "a/1" },
        { at_s = 1.0, client = "b", node = "n1", kind = "list", page = 1 },
        { at_s = 1.1, client = "b", node = "n1", kind = "list_versions", page = 1 },
        """,
        '[workload]\napi = "s3"\nversioning = "enabled"\n',
    )
    places = RunPlaces(tmp_path / "run")
    report = simulate(story, 1, places)
    assert look(places, report).found == ()
    history = msgspec.json.Decoder(Operation).decode_lines(places.history.read_bytes())
    told = [
        (each.client, each.kind, each.of_version, each.generation, each.version, each.deleted, each.status)
        for each in sorted(history, key=lambda operation: operation.invoke_us)
        if not each.client.startswith("final-")
    ]
    assert told == [
        ("a", "put", None, 1, 1, False, 200),
        ("a", "tag", None, 2, 1, None, 200),
        ("b", "put", None, 3, 3, False, 200),
        ("b", "copy", None, 1, 1, False, 200),
        ("a", "mark", None, 4, 4, True, 204),
        ("a", "get", None, 4, 4, True, 404),
        ("a", "get", 3, 4, 3, False, 200),
        ("b", "delete", 1, 5, 1, None, 204),
        ("b", "get", 1, 5, None, True, 404),
        ("b", "list", None, None, None, None, 200),
        ("b", "list_versions", None, None, None, None, 200),
    ]
    listed = next(each.listed for each in history if each.client == "b" and each.kind == "list")
    versions = next(each.versions for each in history if each.client == "b" and each.kind == "list_versions")
    assert [path for path, _ in listed or ()] == ["story/c"]
    assert [(each.path, each.version, each.is_latest, each.deleted) for each in versions or ()] == [
        ("story/c", 1, True, False),
        ("story/k", 4, True, True),
        ("story/k", 3, False, False),
    ]
