"""Names come out of a URL as clients put them in, and what no host name could be is not a bucket."""

import re
from urllib.parse import quote

import pytest
from botocore.utils import check_dns_name
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3 import names
from impl.api.s3.auth.canonical import canonical_path
from impl.api.s3.errors import InvalidArgument, InvalidBucketName, InvalidURI, KeyTooLongError
from impl.api.s3.names import CopySource, Target

SUFFIXES = ("s3.example.com", "example.com")
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.text("/.+ %?~\x00é", min_size=1, max_size=9)
BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True).filter(lambda name: is_bucket(name))
PORTS = st.sampled_from(["", ":80", ":9000"])


def is_bucket(name: str) -> bool:
    try:
        return names.check_bucket_name(name) == name
    except InvalidBucketName:
        return False


@given(BUCKETS, KEYS, st.sampled_from(["", "/", "/~", "/!$&'()*,;=:@"]), PORTS)
def test_a_key_comes_out_of_the_path_as_it_was_put_in(bucket: str, key: str, safe: str, port: str) -> None:
    assert names.target(f"localhost{port}", f"/{bucket}/{quote(key, safe=safe)}", SUFFIXES) == Target(bucket, key)


@given(BUCKETS, KEYS, st.sampled_from(SUFFIXES), PORTS, st.booleans())
def test_a_key_comes_out_of_a_bucket_host_as_it_was_put_in(
    bucket: str, key: str, suffix: str, port: str, shouted: bool
) -> None:
    host = f"{bucket}.{suffix}".upper() if shouted else f"{bucket}.{suffix}"
    assert names.target(host + port, f"/{quote(key)}", SUFFIXES) == Target(bucket, key)


@given(BUCKETS, KEYS, st.sampled_from(["", "/"]), st.none() | st.text("0123456789abcdef+/=", min_size=1))
def test_a_copy_source_comes_out_as_it_was_put_in(bucket: str, key: str, slash: str, version: str | None) -> None:
    header = f"{slash}{bucket}/{quote(key)}" + (f"?versionId={quote(version)}" if version else "")
    assert names.copy_source(header) == CopySource(bucket, key, version)


@given(st.text(st.characters(max_codepoint=255)))
def test_no_path_and_no_header_is_met_with_a_surprise(text: str) -> None:
    for ask in (lambda: names.target(text, "/" + text, SUFFIXES), lambda: names.copy_source(text)):
        try:
            ask()
        except (InvalidURI, InvalidBucketName, InvalidArgument, KeyTooLongError):
            pass


@given(st.text("a+% 2bB/=é\xe9.", max_size=12) | KEYS.map(quote))
def test_the_key_that_is_asked_for_is_the_one_that_was_signed(path: str) -> None:
    try:
        key = names.decode_path(path)
    except InvalidURI:
        return
    assert canonical_path("/" + path) == quote("/" + key, safe="/")


@given(st.text("ab-.0x", max_size=12) | st.from_regex(r"[a-z0-9.-]{3,63}", fullmatch=True))
def test_every_bucket_name_is_one_that_botocore_would_put_into_a_host(name: str) -> None:
    if is_bucket(name):
        assert re.fullmatch(r"[a-z0-9.-]{3,63}", name)
        assert "." in name or check_dns_name(name)
        assert all(label and label.strip("-") == label for label in name.split("."))


@pytest.mark.parametrize("name", ["abc", "a.b", "1ab", "a" * 63, "my.bucket-1.logs", "0x1", "192.168.5", "1.2.3.4.5"])
def test_names_that_s3_allows(name: str) -> None:
    assert is_bucket(name)


NOT_BUCKETS = """
    ab Abc a_b -ab ab- .ab ab. a..b a.-b a-.b 192.168.5.4 äbc ab/c
    xn--abc sthree-abc amzn-s3-demo-abc abc-s3alias abc--ol-s3 abc.mrap abc--x-s3 abc--table-s3
"""


@pytest.mark.parametrize("name", ["", "a" * 64, "a b", "abc\n", *NOT_BUCKETS.split()])
def test_names_that_s3_refuses(name: str) -> None:
    with pytest.raises(InvalidBucketName):
        names.check_bucket_name(name)


@pytest.mark.parametrize(
    "host, path, expected",
    [
        ("s3.example.com", "/", Target()),
        ("s3.example.com", "/abc", Target("abc")),
        ("s3.example.com", "/abc/", Target("abc")),
        ("s3.example.com", "/abc//", Target("abc", "/")),
        ("s3.example.com", "/abc/a//../b/.", Target("abc", "a//../b/.")),
        ("abc.s3.example.com", "/", Target("abc")),
        ("abc.s3.example.com", "//x", Target("abc", "/x")),
        ("a.bc.s3.example.com", "/x", Target("a.bc", "x")),
        ("abc.s3.example.com.", "/x", Target("abc", "x")),
        ("bs3.example.com", "/x", Target("bs3", "x")),
        ("xs3.example.org", "/abc/x", Target("abc", "x")),
        ("[::1]:9000", "/abc/x", Target("abc", "x")),
        ("127.0.0.1", "/abc/x", Target("abc", "x")),
        ("", "/abc/x", Target("abc", "x")),
    ],
)
def test_where_a_request_goes(host: str, path: str, expected: Target) -> None:
    assert names.target(host, path, SUFFIXES) == expected


def test_a_plus_in_a_path_is_a_space_and_an_encoded_one_is_a_plus() -> None:
    assert names.decode_path("a+b%2Bc%20d") == "a b+c d"


@pytest.mark.parametrize("path", ["/abc/%", "/abc/%4", "/abc/%zz", "/abc/%ff", "/abc/\xff", "/abc/%ed%a0%80", "abc"])
def test_a_path_that_cannot_be_decoded_is_refused(path: str) -> None:
    with pytest.raises(InvalidURI):
        names.target("localhost", path, ())


def test_a_key_is_measured_in_bytes() -> None:
    assert names.check_key("é" * 512) == "é" * 512
    with pytest.raises(KeyTooLongError) as refused:
        names.check_key("é" * 512 + "a")
    assert dict(refused.value.details) == {"Size": "1025", "MaxSizeAllowed": "1024"}


@pytest.mark.parametrize("header", ["", "/", "abc", "abc/", "/abc", "/abc/?versionId=1", "abc/%zz", "arn:aws:s3:x/y"])
def test_a_copy_source_without_bucket_and_key_is_refused(header: str) -> None:
    with pytest.raises(InvalidArgument):
        names.copy_source(header)
