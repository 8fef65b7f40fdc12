"""A list, page after page, against what a sorted list of all keys says. Nasty keys, any delimiter, moody sources."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.errors import InvalidArgument
from impl.api.s3.listing import (
    Nested,
    decode_token,
    encode_token,
    is_url_encoded,
    list_keys,
    list_uploads,
    list_versions,
    max_entries,
    past,
)

T = TypeVar("T")

LETTERS = "/ab\x00\x7f\x80\ud7ff\ue000\uffff\U00010000\U0010ffff"
KEYS = st.text(LETTERS, min_size=1, max_size=6)
LONG_KEYS = st.builds(lambda key, last: (key + last * 1024).encode()[:1024].decode(errors="ignore"), KEYS, KEYS)
KEY_SETS = st.sets(KEYS | LONG_KEYS, max_size=40)
PREFIXES = st.just("") | st.text(LETTERS, max_size=3)
DELIMITERS = st.sampled_from(["", "/", "a", "//", "a/", "\U0010ffff", "\x00"])
MARKERS = st.none() | PREFIXES | KEYS


class FakePage(msgspec.Struct, Generic[T], frozen=True):
    items: list[tuple[str, T]]
    next_after: str | None


class FakeSource(Generic[T]):
    """Items in a dict. It looks at no more than `rows_max` rows at once, some of which are `hidden`; if `hopeful`, it
    says that there may be more until it has seen that there is not.
    """

    def __init__(
        self, items: dict[str, T], hidden: frozenset[str] = frozenset(), rows_max: int = 1001, hopeful: bool = False
    ) -> None:
        self._rows = sorted(items.items(), key=lambda item: item[0].encode())
        self._hidden = hidden
        self._rows_max = rows_max
        self._hopeful = hopeful
        self.calls = 0
        self.items_read = 0

    async def __call__(self, prefix: str, after: str | None, limit: int) -> FakePage[T]:
        assert 1 <= limit <= 1001
        assert len((after or "").encode()) <= 1027
        start = (after or "").encode()
        found = [row for row in self._rows if row[0].startswith(prefix) and row[0].encode() > start]
        seen = found[: min(limit, self._rows_max)]
        self.calls += 1
        self.items_read += len(seen)
        has_more = len(seen) < len(found) or (self._hopeful and bool(seen))
        items = [row for row in seen if row[0] not in self._hidden]
        return FakePage(items, seen[-1][0] if has_more else None)


def run(job: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        job.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("the listing waits for something that is not its source")


def entry_of(key: str, prefix: str, delimiter: str) -> str:
    head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
    return prefix + head + found


def model(keys: set[str], prefix: str, delimiter: str, marker: str | None) -> list[tuple[bool, str]]:
    """(is a common prefix, name) of all entries above the marker, in the order of their bytes."""
    entries = set()
    for key in keys:
        if key.startswith(prefix):
            name = entry_of(key, prefix, delimiter)
            entries.add((bool(delimiter) and delimiter in key[len(prefix) :], name))
    above = [entry for entry in entries if entry[1].encode() > (marker or "").encode()]
    return sorted(above, key=lambda entry: entry[1].encode())


def all_pages(page_of: Callable[[str | None], Any]) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    marker = None
    while True:
        page = page_of(marker)
        entries = [(False, key) for key, _ in page.items] + [(True, name) for name in page.common_prefixes]
        found += sorted(entries, key=lambda entry: entry[1].encode())
        if page.next_marker is None:
            return found
        assert marker is None or page.next_marker > marker, "each page goes on above the one before"
        marker = page.next_marker


@given(
    keys=KEY_SETS,
    hidden=st.frozensets(KEYS, max_size=10),
    prefix=PREFIXES,
    delimiter=DELIMITERS,
    start=MARKERS,
    max_keys=st.integers(1, 50),
    rows_max=st.integers(1, 50),
    hopeful=st.booleans(),
)
def test_all_pages_together_are_what_a_sorted_list_says(
    keys: set[str],
    hidden: frozenset[str],
    prefix: str,
    delimiter: str,
    start: str | None,
    max_keys: int,
    rows_max: int,
    hopeful: bool,
) -> None:
    source = FakeSource(dict.fromkeys(keys | hidden, 0), hidden, rows_max, hopeful)

    def page_of(marker: str | None) -> Any:
        page = run(list_keys(source, prefix=prefix, delimiter=delimiter, marker=marker or start, max_keys=max_keys))
        assert len(page.items) + len(page.common_prefixes) <= max_keys
        assert page.next_marker is None or len(page.items) + len(page.common_prefixes) == max_keys
        return page

    assert all_pages(page_of) == model(keys - hidden, prefix, delimiter, start)


SUFFIXES = st.text(LETTERS, max_size=4)


@given(KEYS, SUFFIXES | LONG_KEYS, KEYS | LONG_KEYS)
def test_seeking_past_a_prefix_passes_its_keys_and_no_others(prefix: str, suffix: str, other: str) -> None:
    inside = (prefix + suffix).encode()[:1024].decode(errors="ignore")
    assert inside.encode() <= past(prefix).encode()
    if other.encode() > prefix.encode() and not other.startswith(prefix):
        assert other.encode() > past(prefix).encode()
    assert len(past(prefix).encode()) <= 1027


VERSION_IDS = st.lists(st.sampled_from(["null", "1", "2", "3", "4", "5"]), min_size=1, max_size=6, unique=True)
NESTED = st.dictionaries(KEYS, VERSION_IDS, max_size=12)


def nested_model(
    nested: dict[str, list[str]], prefix: str, delimiter: str, marker: str | None
) -> list[tuple[bool, str, str | None]]:
    found: list[tuple[bool, str, str | None]] = []
    for is_group, name in model(set(nested), prefix, delimiter, marker):
        found += [(True, name, None)] if is_group else [(False, name, version) for version in nested[name]]
    return found


def all_nested_pages(
    page_of: Callable[[str | None, str | None], Nested[int]], items_max: int
) -> list[tuple[bool, str, str | None]]:
    found: list[tuple[bool, str, str | None]] = []
    key_marker, id_marker = None, None
    while True:
        page = page_of(key_marker, id_marker)
        count = len(page.items) + len(page.common_prefixes)
        assert count <= items_max
        assert page.next_key_marker is None or count == items_max
        entries: list[tuple[bool, str, str | None]] = [(False, key, name) for key, name, _ in page.items]
        entries += [(True, name, None) for name in page.common_prefixes]
        found += sorted(entries, key=lambda entry: entry[1].encode())
        if page.next_key_marker is None:
            return found
        assert len(set(found)) == len(found), "no page repeats what another had"
        key_marker, id_marker = page.next_key_marker, page.next_id_marker


@given(NESTED, PREFIXES, DELIMITERS, MARKERS, st.integers(1, 20), st.integers(1, 20))
def test_all_pages_of_versions_together_are_what_a_sorted_list_says(
    nested: dict[str, list[str]], prefix: str, delimiter: str, start: str | None, max_keys: int, rows_max: int
) -> None:
    source = FakeSource({key: [(name, 0) for name in names] for key, names in nested.items()}, rows_max=rows_max)

    def page_of(key_marker: str | None, id_marker: str | None) -> Nested[int]:
        return run(
            list_versions(
                source,
                prefix=prefix,
                delimiter=delimiter,
                key_marker=key_marker or start,
                version_id_marker=id_marker,
                max_keys=max_keys,
            )
        )

    assert all_nested_pages(page_of, max_keys) == nested_model(nested, prefix, delimiter, start)


@given(NESTED, PREFIXES, DELIMITERS, MARKERS, st.integers(1, 20))
def test_all_pages_of_uploads_together_are_what_a_sorted_list_says(
    nested: dict[str, list[str]], prefix: str, delimiter: str, start: str | None, max_uploads: int
) -> None:
    nested = {key: sorted(names) for key, names in nested.items()}
    source = FakeSource({key: [(name, 0) for name in names] for key, names in nested.items()})

    def page_of(key_marker: str | None, id_marker: str | None) -> Nested[int]:
        return run(
            list_uploads(
                source,
                prefix=prefix,
                delimiter=delimiter,
                key_marker=key_marker or start,
                upload_id_marker=id_marker,
                max_uploads=max_uploads,
            )
        )

    assert all_nested_pages(page_of, max_uploads) == nested_model(nested, prefix, delimiter, start)


@given(NESTED, st.integers(1, 5))
def test_whoever_deletes_the_versions_that_each_page_lists_deletes_all(
    nested: dict[str, list[str]], max_keys: int
) -> None:
    left = {key: list(names) for key, names in nested.items()}
    key_marker, id_marker = None, None
    while True:
        source = FakeSource({key: [(name, 0) for name in names] for key, names in left.items() if names})
        page = run(
            list_versions(
                source,
                prefix="",
                delimiter="",
                key_marker=key_marker,
                version_id_marker=id_marker,
                max_keys=max_keys,
            )
        )
        for key, name, _ in page.items:
            left[key].remove(name)
        key_marker, id_marker = page.next_key_marker, page.next_id_marker
        if key_marker is None:
            break
    assert not any(left.values())


def test_an_upload_id_marker_counts_by_order_and_only_for_its_own_key() -> None:
    source = FakeSource({"a": [("u1", 0), ("u3", 0)], "b": [("u1", 0)]})
    page = run(list_uploads(source, prefix="", delimiter="", key_marker="a", upload_id_marker="u2", max_uploads=9))
    assert [(key, name) for key, name, _ in page.items] == [("a", "u3"), ("b", "u1")]


@pytest.mark.parametrize("prefix, delimiter", [("b", ""), ("", "/")])
def test_a_version_marker_shows_no_key_that_the_list_does_not_have(prefix: str, delimiter: str) -> None:
    source = FakeSource({"a/": [("2", 0), ("1", 0)], "b": [("1", 0)]})
    page = run(
        list_versions(source, prefix=prefix, delimiter=delimiter, key_marker="a/", version_id_marker="2", max_keys=9)
    )
    assert ([key for key, _, _ in page.items], page.common_prefixes) == (["b"], [])


def test_a_version_marker_needs_a_key_marker() -> None:
    empty: FakeSource[list[tuple[str, int]]] = FakeSource({})
    with pytest.raises(InvalidArgument):
        run(list_versions(empty, prefix="", delimiter="", key_marker=None, version_id_marker="v", max_keys=1))


def test_a_list_of_no_keys_is_empty_and_asks_for_nothing() -> None:
    source = FakeSource({"a": 0})
    page = run(list_keys(source, prefix="", delimiter="", marker=None, max_keys=0))
    assert (page.items, page.common_prefixes, page.next_marker, source.calls) == ([], [], None, 0)


def test_common_prefixes_are_passed_without_reading_what_is_in_them() -> None:
    source = FakeSource({f"{tree:02}/{leaf:04}": 0 for tree in range(20) for leaf in range(2000)})
    page = run(list_keys(source, prefix="", delimiter="/", marker=None, max_keys=1000))
    assert page.common_prefixes == [f"{tree:02}/" for tree in range(20)]
    assert source.calls <= 21
    assert source.items_read <= 21 * 64


def test_a_list_without_common_prefixes_asks_once_a_page() -> None:
    source = FakeSource({f"{leaf:04}": 0 for leaf in range(2000)})
    page = run(list_keys(source, prefix="", delimiter="", marker=None, max_keys=1000))
    assert (len(page.items), page.next_marker, source.calls) == (1000, "0999", 1)


def test_many_small_common_prefixes_are_read_in_large_pages() -> None:
    source = FakeSource({f"{tree:04}/{leaf}": 0 for tree in range(2000) for leaf in range(2)})
    page = run(list_keys(source, prefix="", delimiter="/", marker=None, max_keys=1000))
    assert (len(page.common_prefixes), page.next_marker) == (1000, "0999/")
    assert source.calls <= 8


@given(st.text(st.characters(codec="utf-8")))
def test_a_token_gives_back_its_marker(marker: str) -> None:
    token = encode_token(marker)
    assert token.isascii()
    assert decode_token(token) == marker


@given(st.text(max_size=60) | st.text("abcDEF0189-_=+/", max_size=60))
def test_a_token_that_no_list_gave_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        decode_token(token)


@given(KEYS, st.data())
def test_a_token_that_was_changed_is_refused(marker: str, data: st.DataObject) -> None:
    token = encode_token(marker)
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("AZaz09-_=")) + token[at + 1 :]
    try:
        assert decode_token(changed) == marker
    except InvalidArgument:
        pass


def test_a_token_given_out_by_an_earlier_version_is_still_good() -> None:
    assert decode_token("nsExEwFwaG90b3MvMjAwNi8=") == "photos/2006/"


@pytest.mark.parametrize(
    "text, expected", [(None, 1000), ("", 1000), ("0", 0), ("7", 7), ("1000", 1000), ("5000", 1000)]
)
def test_how_many_entries_a_page_may_have(text: str | None, expected: int) -> None:
    assert max_entries("max-keys", text) == expected


@pytest.mark.parametrize("text", ["-1", "x", "1.0", "٣", "2147483648", "9" * 5000, " 1", "+1"])
def test_what_is_no_number_of_entries_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        max_entries("max-keys", text)


def test_there_is_one_way_to_encode_names() -> None:
    assert (is_url_encoded("url"), is_url_encoded(None), is_url_encoded("")) == (True, False, False)
    with pytest.raises(InvalidArgument):
        is_url_encoded("base64")
