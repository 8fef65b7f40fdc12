"""What the archive's objects say of themselves comes back as it was meant, whatever clients wrote there."""

from hypothesis import given
from hypothesis import strategies as st

from impl.archive import labels
from impl.archive.face import METADATA_BYTES_MAX, Archived, check_metadata
from impl.model import Head

texts = st.text(max_size=300)
attributes = st.lists(
    st.tuples(st.sampled_from(("x-amz-meta-", "x-amz-tagging", "cache-control")), texts, texts), max_size=6
).map(lambda found: tuple((start + name, value) for start, name, value in found))


def head(generation: int, etag: str | None, pairs: tuple[tuple[str, str], ...] = (), content_type: str = "") -> Head:
    return Head(generation, etag is None, etag, 5, content_type, 0, b"hello", (), (), pairs)


@given(st.integers(1, 10**9), st.text(min_size=1, max_size=60), attributes, texts)
def test_every_archive_takes_the_label_and_our_words_come_back(
    generation: int, etag: str, pairs: tuple[tuple[str, str], ...], content_type: str
) -> None:
    kind, metadata = labels.label(head(generation, etag, pairs, content_type), "c1", "n1.1.7")
    check_metadata(kind, metadata)
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= METADATA_BYTES_MAX
    seen = labels.seen(Archived("k", 5, "E", 0, kind, metadata, None), "c1")
    assert (seen.generation, seen.etag, seen.ship, seen.head_etag) == (generation, "E", "n1.1.7", etag)
    assert labels.seen(Archived("k", 5, "E", 0, kind, metadata, None), "c2").generation == 0


def test_user_metadata_is_what_other_clients_read_and_importers_find() -> None:
    pairs = (("x-amz-meta-place", "Rome"), ("x-amz-meta-who", "Zo\u00eb"), ("cache-control", "no-cache"))
    _, metadata = labels.label(head(1, "e", pairs), "c1", "")
    assert (metadata["place"], metadata["who"]) == ("Rome", "Zo%C3%AB") and "cache-control" not in metadata
    assert labels.attributes(metadata) == (("x-amz-meta-place", "Rome"), ("x-amz-meta-who", "Zo%C3%AB"))


def test_nobody_passes_words_of_ours_off_as_metadata() -> None:
    _, metadata = labels.label(head(1, "e", (("x-amz-meta-amberio-generation", "99"),)), "c1", "")
    assert metadata["amberio-generation"] == "1"
