"""The tagging header is a query, and gives back what was put in."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.errors import BadRequest, InvalidArgument, InvalidTag, S3Error
from impl.api.s3.shapes import Tag
from impl.api.s3.tags import tags_of_header

NAMES = st.text("aé1 +-=._:/@", min_size=1, max_size=20)


@given(st.dictionaries(NAMES, NAMES | st.just(""), max_size=10), st.booleans())
def test_tags_come_out_of_the_header_as_they_were_put_in(tags: dict[str, str], plus: bool) -> None:
    header = urlencode(tags) if plus else "&".join(f"{quote(key)}={quote(value)}" for key, value in tags.items())
    assert tags_of_header(header) == tuple(Tag(key, value) for key, value in tags.items())


@pytest.mark.parametrize(
    "header, error",
    [
        ("a=1&a=2", InvalidTag),
        ("=1", InvalidTag),
        ("a=1&", InvalidTag),
        ("a=%3C", InvalidTag),
        ("aws%3Aa=1", InvalidTag),
        ("&".join(f"{place}=" for place in range(11)), BadRequest),
        ("a=%ff", InvalidArgument),
        ("a=%", InvalidArgument),
        ("a=é", InvalidArgument),
    ],
)
def test_tags_that_s3_would_not_keep_are_refused(header: str, error: type[S3Error]) -> None:
    with pytest.raises(error):
        tags_of_header(header)


def test_a_tag_may_have_no_value() -> None:
    assert tags_of_header("a&b=") == (Tag("a", ""), Tag("b", ""))
