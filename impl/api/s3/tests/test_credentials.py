"""The credentials file: every fault is named at once, and no fault, repr or error shows what may be a secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impl.api.s3.credentials import ANONYMOUS, FILE_BYTES_MAX, Credentials, Identity, load
from impl.errors import ConfigError

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def entry(**changes: object) -> dict[str, Any]:
    right = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret": SECRET, **changes}
    return {key: value for key, value in right.items() if value is not None}


def read(directory: Path, content: object, mode: int = 0o600) -> Credentials:
    file = directory / "credentials.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    file.chmod(mode)
    return load(file)


def faults(directory: Path, content: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(directory, content)
    return str(raised.value).splitlines()


def test_keys_are_found_by_their_id_with_name_and_rank(tmp_path: Path) -> None:
    other = entry(access_key_id="backup", name="nightly", root=True)
    credentials = read(tmp_path, {"keys": [entry(), other]})
    assert credentials.identities() == (
        Identity("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        Identity("backup", "nightly", root=True),
    )
    found = credentials.find("backup")
    assert found is not None and found.secret == SECRET and found.identity.root
    assert credentials.find("nobody") is None and credentials.find("") is None
    assert ANONYMOUS.anonymous and not found.identity.anonymous


def test_every_fault_is_named_at_once_one_a_line(tmp_path: Path) -> None:
    keys = [entry(access_key_id="a/b"), entry(secret="short"), entry(root="yes"), entry(nmae="x"), {"secret": SECRET}]
    lines = faults(tmp_path, {"keys": [*keys, entry(name="two words")], "kyes": []})
    for place in ("keys[0].access_key_id", "keys[1].secret", "keys[2].root", "keys[2].access_key_id", "keys[3].nmae"):
        assert any(f" {place} is " in line for line in lines), place
    for place in ("keys[3].access_key_id", "keys[4].access_key_id", "keys[5].name", "kyes"):
        assert any(f" {place} is " in line for line in lines), place
    assert all(line.startswith("credentials.yaml: ") for line in lines)


def test_no_name_is_anothers_access_key_id(tmp_path: Path) -> None:
    namesake = entry(access_key_id="backup", name="AKIAIOSFODNN7EXAMPLE")
    (line,) = faults(tmp_path, {"keys": [namesake, entry()]})
    assert " keys[0].name is " in line and "keys[1]" in line
    assert len(read(tmp_path, {"keys": [entry(name="same"), entry(access_key_id="backup", name="same")]})) == 2


@pytest.mark.parametrize("content", [{}, {"keys": []}, {"keys": None}, [], "", "keys: 3", "keys: [3]"])
def test_a_file_without_keys_is_refused(tmp_path: Path, content: object) -> None:
    assert faults(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        f"keys: {SECRET}",
        f"keys: [{SECRET}]",
        f"{SECRET}",
        f"keys:\n  - secret: [{SECRET}]\n    access_key_id: {{x: {SECRET}}}\n    name: [{SECRET}]\n    root: {SECRET}",
        f"keys:\n  - secret: '{SECRET} '\n    access_key_id: {SECRET}",
        f"keys:\n  - access_key_id: abc\n    secrt: {SECRET}",
        f"keys:\n  - secret: {SECRET}: {SECRET}\n",
        f"keys:\n  - secret: '{SECRET}\n",
        f"keys:\n  - secret: !!python/object {SECRET}\n",
        f"keys:\n  - secret: *{SECRET}\n",
    ],
)
def test_no_fault_shows_a_value_wherever_the_secret_was_written(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, content)
    assert SECRET not in str(raised.value) and raised.value.__cause__ is None


def test_the_line_of_a_fault_of_yaml_is_told(tmp_path: Path) -> None:
    assert "not valid YAML in line 3" in faults(tmp_path, "keys:\n  - name: x\n    secret: *nowhere\n")[0]


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    credentials = read(tmp_path, {"keys": [entry()]})
    found = credentials.find("AKIAIOSFODNN7EXAMPLE")
    assert SECRET not in repr(credentials) + repr(found) + str(found) + f"{[found]}"


@pytest.mark.parametrize(("mode", "who"), [(0o640, "its group"), (0o604, "everybody"), (0o644, "everybody")])
def test_a_file_that_others_may_open_is_warned_about(tmp_path: Path, mode: int, who: str) -> None:
    (warning,) = read(tmp_path, {"keys": [entry()]}, mode).warnings
    assert who in warning and f"{mode:04o}" in warning
    assert read(tmp_path, {"keys": [entry()]}, 0o600).warnings == ()


def test_a_file_that_is_not_there_or_much_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no credentials file"):
        read(tmp_path, "#" * (FILE_BYTES_MAX + 1))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet="keys:-[]{}!&*?|>' \n\tsecret0.", max_size=60).map(str.encode))
def test_whatever_the_file_holds_nothing_but_a_configuration_error_is_raised(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_bytes(content)
    try:
        load(file)
    except ConfigError:
        pass
