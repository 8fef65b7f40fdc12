"""Every kind of archive answers as a dict would: a directory, S3, the simulated one, and that with troubles too.

What may have happened, as an answer was lost, leaves the model with several objects that may be there; the next look
says which, and it must be one of them.
"""

import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from impl.archive.face import METADATA_BYTES_MAX, Archive, Archived, Listed
from impl.errors import (
    ArchiveChanged,
    ArchiveCorrupted,
    ArchiveThrottled,
    ArchiveUnavailable,
    BodyCutShort,
    InvalidArgument,
    NotInArchive,
    RangeNotSatisfiable,
)
from integration.archives import KINDS, PART_BYTES, Opened, opened
from integration.moto_server import Moto, running

LONG = "x" * 64
KEYS = (
    *("a", "a/", "a/b", "a-b", "a0", "a//b", "/", "/a", "//", ".", "..", "../a", "a/../b", "A", "é", "\U0001f600"),
    *(LONG, LONG + "/y", LONG + "-", LONG + "0", LONG + "x", LONG * 5, "é" * 40, "%41", "a=m", "a%2Fb", "a b+c?d#e&f"),
    *("\t", " ", "\x7f", "\ufffe", "\ud7ff", "a" * 1024, "/" * 1024, "\U0001f600" * 256),
)

picks = st.integers(0, 11)
keys = st.sampled_from(KEYS) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
bodies = st.builds(
    lambda size_bytes, seed: random.Random(seed).randbytes(size_bytes),
    st.integers(0, 4 * PART_BYTES + 3) | st.sampled_from((0, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1)),
    st.integers(0, 3),
)
names = st.text("abcz019._-", min_size=1, max_size=8).filter(lambda name: name[0].isalnum())
texts = st.text([chr(code) for code in range(0x20, 0x7F)], max_size=12).map(str.strip)
metadata = st.dictionaries(names, texts, max_size=3)
types = st.sampled_from(("application/octet-stream", "text/plain; charset=utf-8", "x"))
cuts = st.none() | st.integers(1, 3 * PART_BYTES)
"""In chunks of so many bytes, or in one piece."""


EXAMPLES = {"directory": 40, "simulated": 100, "troubled": 150, "s3": 12}
KEYS_EXAMPLES = {"directory": 40, "simulated": 100, "s3": 10}


class Broken(Exception):
    """Whoever gave the body could not go on."""


@dataclass(frozen=True)
class Kept:
    """An object as the model has it; `etag` is None while nobody was told of it."""

    body: bytes
    content_type: str
    metadata: dict[str, str]
    has_digest: bool
    etag: str | None


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def chunks(body: bytes, cut: int, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(body), cut):
        yield body[start : start + cut]
    if breaks:
        raise Broken


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with running() as server:
        yield server


class Conformance(RuleBasedStateMachine):
    """One archive, and for each key the objects that may be there; None is none."""

    def __init__(self, kind: str, moto: Moto) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.opened: Opened = self._stack.enter_context(opened(kind, moto))
        self.archive = self.opened.archive
        self.model: dict[str, list[Kept | None]] = {}
        self.keys: tuple[str, ...] = ()

    @initialize(few=st.lists(keys, min_size=1, max_size=4, unique=True))
    def choose(self, few: list[str]) -> None:
        """All is asked of a few keys: what comes twice finds what came before."""
        self.keys = tuple(few if self.opened.can_have_any_key else map(in_xml, few))

    def teardown(self) -> None:
        self._stack.close()

    def key(self, pick: int) -> str:
        return self.keys[pick % len(self.keys)]

    def may_be(self, key: str) -> list[Kept | None]:
        return self.model.get(key, [None])

    def run(self, work: Any) -> Any:
        """What the work returns; ArchiveUnavailable if that, or throttling, is what an archive in trouble raised."""
        try:
            return self.opened.run(work)
        except (ArchiveUnavailable, ArchiveThrottled) as error:
            assert self.opened.is_troubled, error
            event(f"{type(error).__name__}")
            return error

    # -- writing

    @rule(
        pick=picks,
        body=bodies,
        cut=cuts,
        about=st.tuples(types, metadata),
        says=st.booleans(),
        when=st.sampled_from(("always", "always", "if absent", "if match", "if other")),
    )
    def put(
        self, pick: int, body: bytes, cut: int | None, about: tuple[str, dict[str, str]], says: bool, when: str
    ) -> None:
        key = self.key(pick)
        content_type, metadata = about
        old = self.may_be(key)
        is_large = len(body) > PART_BYTES
        conditions = self.conditions(key, when)
        assume(not (is_large and "if_match" in conditions and not self.opened.can_replace_parts_if_match))
        new = Kept(body, content_type, metadata, says or not is_large, None)
        told = {"sha256": sha256(body), "size_bytes": len(body)} if says else {}
        given = body if cut is None else chunks(body, cut)
        try:
            etag = self.run(
                self.archive.put(key, given, content_type=content_type, metadata=metadata, **told, **conditions)
            )
        except ArchiveChanged:
            self.model[key] = [each for each in old if not fits(each, conditions) or is_guessed(each, conditions)]
            assert self.model[key], "refused, though the condition holds"
            return
        if isinstance(etag, ArchiveThrottled):
            return
        if isinstance(etag, ArchiveUnavailable):
            self.model[key] = [*old, new]
            return
        assert any(fits(each, conditions) for each in old), "done, though the condition does not hold"
        assert etag and '"' not in etag
        self.model[key] = [replace(new, etag=etag)]

    @rule(pick=picks, body=bodies, cut=cuts, lie=st.sampled_from(("digest", "size", "both", "breaks")))
    def put_what_is_not_as_promised(self, pick: int, body: bytes, cut: int | None, lie: str) -> None:
        key = self.key(pick)
        told: dict[str, Any] = {}
        if lie in ("digest", "both"):
            told["sha256"] = sha256(body + b".")
        if lie in ("size", "both"):
            told["size_bytes"] = len(body) + 1
        given = body if cut is None and lie != "breaks" else chunks(body, cut or 7, breaks=lie == "breaks")
        expected = {"digest": ArchiveCorrupted, "breaks": Broken}.get(lie, BodyCutShort)
        try:
            answer = self.run(self.archive.put(key, given, **told))
            assert isinstance(answer, (ArchiveUnavailable, ArchiveThrottled)), "a lie was believed"
        except expected:
            pass

    @rule(pick=picks, when=st.sampled_from(("always", "if match", "if other")))
    def delete(self, pick: int, when: str) -> None:
        key = self.key(pick)
        old = self.may_be(key)
        conditions = self.conditions(key, when)
        try:
            answer = self.run(self.archive.delete(key, **conditions))
        except ArchiveChanged:
            self.model[key] = [each for each in old if not fits(each, conditions) or is_guessed(each, conditions)]
            assert self.model[key], "refused, though the condition holds"
            return
        if isinstance(answer, ArchiveThrottled):
            return
        if isinstance(answer, ArchiveUnavailable):
            self.model[key] = [*old, None]
            return
        assert any(fits(each, conditions) for each in old), "done, though the condition does not hold"
        self.model[key] = [None]

    def conditions(self, key: str, when: str) -> dict[str, Any]:
        match when:
            case "if absent":
                return {"if_absent": True}
            case "if match":
                etags = [each.etag for each in self.may_be(key) if each is not None and each.etag is not None]
                return {"if_match": etags[0]} if etags else {}
            case "if other":
                return {"if_match": "0" * 32}
        return {}

    # -- reading

    @rule(pick=picks)
    def head(self, pick: int) -> None:
        key = self.key(pick)
        self.see(key, self.looked(self.archive.head(key)))

    @rule(pick=picks, by_etag=st.booleans())
    def get(self, pick: int, by_etag: bool) -> None:
        key = self.key(pick)
        etag = self.conditions(key, "if match").get("if_match") if by_etag else None
        try:
            found = self.looked(self.read(key, 0, None, etag))
        except ArchiveChanged:
            assert len(self.may_be(key)) > 1, "another etag, though nothing is in doubt"
            return
        if found is None:
            return self.see(key, None)
        if isinstance(found, tuple):
            about, _, stop, body = found
            self.see(key, about, body)
            assert stop == len(body) == about.size_bytes

    @rule(pick=picks, start=st.integers(0, 5 * PART_BYTES), size_bytes=st.none() | st.integers(1, 3 * PART_BYTES))
    def get_range(self, pick: int, start: int, size_bytes: int | None) -> None:
        key = self.key(pick)
        stop = None if size_bytes is None else start + size_bytes
        try:
            found = self.looked(self.read(key, start, stop, None))
        except RangeNotSatisfiable:
            assert start and any(each is not None and start >= len(each.body) for each in self.may_be(key))
            return
        if found is None:
            return self.see(key, None)
        if isinstance(found, tuple):
            about, begins, ends, body = found
            self.see(key, about)
            assert body == self.may_be(key)[0].body[start:stop] and (begins, ends) == (start, start + len(body))

    @rule(pick=picks)
    def get_with_another_etag(self, pick: int) -> None:
        key = self.key(pick)
        with pytest.raises((ArchiveChanged, NotInArchive)):
            answer = self.run(self.archive.get(key, if_match="0" * 32))
            if isinstance(answer, Exception):
                raise ArchiveChanged("in trouble")

    @rule(
        prefix=st.sampled_from(("", "", "a", "a/", "/", LONG, LONG + "/", "é", "\U0001f600", "nothing")),
        limit=st.sampled_from((1, 2, 3, 1000)),
    )
    def list(self, prefix: str, limit: int) -> None:
        listed: list[Listed] = []
        token: str | None = None
        while True:
            page = self.run(self.archive.list(prefix, token, limit))
            if isinstance(page, Exception):
                continue
            assert len(page.objects) <= limit
            listed += page.objects
            token = page.next_token
            if token is None:
                break
            assert page.objects, "an empty page that is not the last"
        found = {each.key: each for each in listed}
        order = [each.key.encode() for each in listed]
        assert order == sorted(set(order)), "not in byte order, or twice"
        assert all(key.startswith(prefix) for key in found)
        for key in {*found, *(key for key in self.model if key.startswith(prefix))}:
            self.see(key, found.get(key))

    async def read(
        self, key: str, start: int, stop: int | None, if_match: str | None
    ) -> tuple[Archived, int, int, bytes]:
        fetched = await self.archive.get(key, start, stop, if_match=if_match)
        pieces = [piece async for piece in fetched.chunks]
        assert all(0 < len(piece) <= PART_BYTES for piece in pieces)
        return fetched.about, fetched.start, fetched.stop, b"".join(pieces)

    def looked(self, work: Any) -> Any:
        """What was found: None if nothing is there, an error if an archive in trouble did not say."""
        try:
            return self.run(work)
        except NotInArchive:
            return None

    def see(self, key: str, about: Archived | Listed | Exception | None, body: bytes | None = None) -> None:
        """This is what is there: it must be one of those that may be, and is the only one from now on."""
        if isinstance(about, Exception):
            return
        fitting = [each for each in self.may_be(key) if is_seen(each, about, body)]
        assert fitting, f"{about} is there, and not one of {self.may_be(key)}"
        self.model[key] = [
            None if about is None or each is None else replace(each, etag=about.etag) for each in fitting
        ]
        self.model[key] = list(self.model[key])
        assert about is None or about.key == key

    # -- what no archive takes

    @rule(key=st.sampled_from(("", "x" * 1025, "é" * 513, "\ud800")))
    def no_key(self, key: str) -> None:
        for work in (
            self.archive.put(key, b""),
            self.archive.get(key),
            self.archive.head(key),
            self.archive.delete(key),
        ):
            with pytest.raises(InvalidArgument):
                self.opened.run(work)

    @rule(
        name=st.sampled_from(("", "A", "é", "a b", "a:", "amberio-sha256", "x" * METADATA_BYTES_MAX, None)),
        value=st.sampled_from(("é", " a", "a ", "a\n", "\x00")),
    )
    def no_metadata(self, name: str | None, value: str) -> None:
        with pytest.raises(InvalidArgument):
            self.opened.run(self.archive.put("a", b"", metadata={"a": value} if name is None else {name: "x"}))

    @invariant()
    def the_model_is_never_empty(self) -> None:
        assert all(self.model.values())


def in_xml(key: str) -> str:
    """The key without the two characters that XML has no way to say."""
    return key.translate({0xFFFE: "-", 0xFFFF: "-"})


def fits(kept: Kept | None, conditions: dict[str, Any]) -> bool:
    """May the condition hold for this?"""
    if "if_absent" in conditions:
        return kept is None
    if "if_match" in conditions:
        return kept is not None and kept.etag in (None, conditions["if_match"])
    return True


def is_guessed(kept: Kept | None, conditions: dict[str, Any]) -> bool:
    """Does the condition ask for an etag that nobody was told?"""
    return "if_match" in conditions and kept is not None and kept.etag is None


def is_seen(kept: Kept | None, about: Archived | Listed | None, body: bytes | None) -> bool:
    if kept is None or about is None:
        return kept is about is None
    if kept.etag not in (None, about.etag) or len(kept.body) != about.size_bytes or about.modified_at_ms <= 0:
        return False
    if isinstance(about, Listed):
        return True
    said = (kept.content_type, kept.metadata, sha256(kept.body) if kept.has_digest else None)
    return said == (about.content_type, about.metadata, about.sha256) and body in (None, kept.body)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_answers_as_a_dict_would(kind: str, moto: Moto) -> None:
    run_state_machine_as_test(
        lambda: Conformance(kind, moto),
        settings=settings(
            max_examples=EXAMPLES[kind],
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


pieces = st.text("ax-/0\x7fé\U0001f600", min_size=1, max_size=6) | st.sampled_from((LONG, "x" * 63, "é" * 32, "é" * 33))
beyond = st.builds(str.__add__, st.sampled_from((LONG, LONG * 2, f"a/{LONG}")), st.text("/-0x", max_size=3))
"""A name in a directory ends after 64 bytes, and what comes then goes on in another one, or does not."""
some_keys = st.lists(pieces, min_size=1, max_size=4).map("".join) | beyond
many_keys = st.lists(some_keys, min_size=1, max_size=25, unique=True)


@pytest.mark.parametrize("kind", KEYS_EXAMPLES)
def test_a_list_is_in_the_byte_order_of_keys_whatever_they_are(kind: str, moto: Moto) -> None:
    @settings(max_examples=KEYS_EXAMPLES[kind], deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(many_keys, st.integers(1, 7), st.data())
    def lists(keys: list[str], limit: int, data: st.DataObject) -> None:
        some = data.draw(st.sampled_from(keys))
        prefix = some[: data.draw(st.integers(0, len(some)))]
        token = data.draw(st.none() | st.sampled_from(keys))

        async def story(archive: Archive) -> list[str]:
            for key in keys:
                await archive.put(key, b"")
            listed: list[str] = []
            page = await archive.list(prefix, token, limit)
            listed += [each.key for each in page.objects]
            while page.next_token is not None:
                page = await archive.list(prefix, page.next_token, limit)
                listed += [each.key for each in page.objects]
            return listed

        with opened(kind, moto) as archive:
            listed = archive.run(story(archive.archive))
        wanted = sorted(key.encode() for key in keys if key.startswith(prefix))
        assert [key.encode() for key in listed] == [key for key in wanted if token is None or key > token.encode()]

    lists()
