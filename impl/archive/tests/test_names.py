"""Names in a directory archive: no key leads out of it, and no two keys meet."""

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from impl.archive.face import KEY_BYTES_MAX
from impl.archive.names import children, is_left, place

keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(("/", "..", ".", "x" * 64, "é" * 32, "=m", "=d/", "\0", "%2F", "~")), min_size=1).map(
        "".join
    ),
).filter(lambda key: 0 < len(key.encode()) <= KEY_BYTES_MAX)


def path(key: str) -> PurePosixPath:
    directories, stem = place(key)
    return PurePosixPath(*directories, f"{stem}=m")


@given(keys)
def test_no_key_leads_out_of_the_directory_or_is_too_long_for_one(key: str) -> None:
    directories, stem = place(key)
    names = [*directories, f"{stem}=m", f"{stem}=b.{'0' * 32}.01234567.tmp"]
    assert not {"", ".", ".."} & set(names)
    assert all("/" not in name and "\0" not in name and len(name.encode()) <= 255 for name in names)
    assert len("/".join(names)) < 3600, "with its root it must be below PATH_MAX"


@given(keys, keys)
def test_no_two_keys_share_a_file_nor_is_one_a_directory_of_the_other(one: str, other: str) -> None:
    assert (path(one) == path(other)) == (one == other)
    assert path(one) not in path(other).parents


@given(st.lists(keys, min_size=1, max_size=8))
def test_a_directory_tells_the_keys_in_it(some: list[str]) -> None:
    found: set[bytes] = set()
    waiting: list[tuple[tuple[str, ...], bytes]] = [((), b"")]
    places = {(*directories, f"{stem}=m") for directories, stem in map(place, some)}
    while waiting:
        at, beginning = waiting.pop()
        names = {names[len(at)] for names in places if names[: len(at)] == at and len(names) > len(at)}
        for child in children([*names, "part=b.00", "what=m.1234.tmp", "stranger"], beginning):
            assert child.key.startswith(beginning)
            if not child.directories:
                found.add(child.key)
            waiting += [((*at, name), begins) for name, begins in child.directories]
    assert found == {key.encode() for key in some}


def test_what_a_write_leaves_is_known_by_its_name() -> None:
    left = ("cat=b.7", "cat=b.7.ab12.tmp", "cat=m.ab12.tmp")
    kept = ("cat=m", "cat=b.8", "cat=b.77", "cat=b.8.ab12.tmp", "dog=b.7", "dog=m.ab12.tmp", "cat=d", "cat")
    assert [name for name in (*left, *kept) if is_left(name, "cat", "7")] == list(left)
    assert [name for name in (*left, *kept) if is_left(name, "cat", None)] == ["cat=m.ab12.tmp"]
