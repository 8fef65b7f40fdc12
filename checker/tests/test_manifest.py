"""A manifest that is wrong says where; those of this repository say what the schema of their traces says."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from checker import manifest as manifests
from checker.errors import CannotCheck
from checker.tests.conftest import TOY

SPECS = Path(__file__).parents[2] / "spec"


@pytest.mark.parametrize(
    ("find", "replace", "says"),
    [
        ('name = "lock"', "", "missing required field `name`"),
        ('trace_module = "LockTrace"', 'trace_module = "Lack"', "there is no"),
        ('type = "rank"', 'type = "rang"', "$.domain"),
        ('fence = "fence", by', 'fence = "fance", by', "event.Make.fields.fence: there is no domain 'fance'"),
        ('branches = ["held"]', 'branches = ["fence"]', "event.Look.branches: 'fence' is no enum or bool"),
        ('Look = ["fence"]', 'Look = ["mode"]', "event.Give.causes.Look: 'mode' must be a field of Give"),
        ('Look = ["fence"]', 'Lock = ["fence"]', "event.Give.causes: there is no event 'Lock'"),
        ('count = 1, Look = ["fence"]', 'each = "fence"', "event.Give.causes.each: 'fence' is no set field"),
        (
            'count = 1, Look = ["fence"]',
            'parts = { seen = ["Take"] }, Look = []',
            "Give.causes: Take may be no cause of it",
        ),
        (
            'count = 1, Look = ["fence"]',
            'count = 1, own = ["Take"], Look = []',
            "Give.causes: Take may be no cause of it",
        ),
        ('count = 1, Look = ["fence"]', 'when = { seen = "fence" }, Look = []', "'seen' must be one of parts"),
        ('count = 1, Look = ["fence"]', 'count = "one"', "event.Give.causes.count is 'one'"),
        ('field = "was_fence"', 'field = "is_fence"', "canary: there is no field 'is_fence'"),
        ('domain = "node"', 'domain = "knot"', "param.by: there is no domain 'knot'"),
        ('split_by = "lock"', 'split_by = "lock"\nwhat = 1', "unknown field `what`"),
        ('split_by = "lock"', 'split_by = "lock', "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(tmp_path: Path, find: str, replace: str, says: str) -> None:
    shutil.copytree(TOY, tmp_path / "spec")
    path = tmp_path / "spec" / "lock.toml"
    manifests.read(path)
    text = path.read_text()
    assert find in text
    path.write_text(text.replace(find, replace, 1))
    with pytest.raises(CannotCheck) as error:
        manifests.read(path)
    assert str(path) in str(error.value) and says in str(error.value)


def test_a_manifest_that_is_not_there_is_said() -> None:
    with pytest.raises(CannotCheck, match=r"nowhere\.toml: cannot be read"):
        manifests.read(Path("nowhere.toml"))


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_manifest_knows_the_events_the_fields_and_the_values_that_the_schema_allows(path: Path) -> None:
    manifest = manifests.read(path)
    schema = json.loads((path.parent / tomllib.loads(path.read_text())["schema"]).read_text())
    events = {reference["$ref"].rpartition("/")[2] for reference in schema["oneOf"]}
    assert events == {*manifest.kinds, *manifest.ignored}
    common = {"node", "incarnation", "seq", "time_ms", "event", "cause", manifest.split_by, "commit", "disk"}
    for kind in manifest.kinds.values():
        properties = schema["$defs"][kind.name]["properties"]
        about = {kind.everywhere.slots, kind.everywhere.total} if kind.everywhere else set()
        assert set(kind.fields) == set(properties) - common - about, kind.name
        for field, name in kind.fields.items():
            domain = manifest.domains[name]
            if "enum" in properties[field]:
                assert (domain.type, sorted(domain.values)) == ("enum", sorted(properties[field]["enum"])), field
