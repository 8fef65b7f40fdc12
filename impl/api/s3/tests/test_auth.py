"""A request is believed if, and only if, it was signed with a key of ours, over exactly this request, at about now.

The oracle is botocore, and the examples that AWS publishes with their signatures.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from impl.api.s3.auth import AuthKind, PayloadKind, Verifier
from impl.api.s3.auth.signing import CACHED_KEYS_MAX, Scope, SigningKeys, signing_key
from impl.api.s3.auth.verifier import SKEW_S
from impl.api.s3.credentials import ANONYMOUS, Credential, Identity
from impl.api.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidRequest,
    InvalidToken,
    RequestExpired,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from impl.api.s3.tests.auth_rig import (
    ALICE,
    KEY,
    MOMENT,
    NOW_S,
    OTHER_KEY,
    OTHER_SECRET,
    SECRET,
    Sent,
    joined,
    presign,
    sign_in_header,
    verifier,
)

WEEK_S = 7 * 24 * 3600
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

visible = st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp"))
odd = st.sampled_from("ab0+ %/&=?;:@!$'()*,~.-_é日😀")
texts = st.text(odd, max_size=12) | st.text(visible, max_size=6)
keys = st.lists(texts, max_size=4).map(lambda parts: "/bucket/" + quote("/".join(parts), safe="/~"))
params = st.lists(st.tuples(texts.filter(bool), texts), max_size=4)
header_names = st.from_regex(r"(?:[Xx]-[Aa]mz-[Mm]eta-[a-bA-B]{1,2}|[Cc]ontent-[a-z]{2,8})", fullmatch=True)
header_values = st.text(st.sampled_from("ab ,;:=\té"), max_size=12) | st.text(visible, max_size=6)
headers = st.lists(st.tuples(header_names, header_values), max_size=4)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


@settings(deadline=None)
@given(methods, keys, params, headers, st.binary(max_size=40))
def test_what_botocore_signs_in_a_header_is_believed(
    method: str, path: str, query: list[tuple[str, str]], more: list[tuple[str, str]], body: bytes
) -> None:
    verified = sign_in_header(method, path, query, more, body).verified()
    assert (verified.identity, verified.kind) == (ALICE, AuthKind.HEADER)
    assert verified.payload.kind is PayloadKind.EXACT
    verified.payload.check_digest(hashlib.sha256(body).hexdigest())


@settings(deadline=None)
@given(methods, keys, params, headers, st.integers(1, WEEK_S), st.floats(0, 1))
def test_what_botocore_presigns_is_believed_until_it_expires(
    method: str, path: str, query: list[tuple[str, str]], more: list[tuple[str, str]], expires_s: int, when: float
) -> None:
    sent = presign(method, path, query, more, expires_s=expires_s)
    verified = sent.verified(NOW_S + when * expires_s)
    assert (verified.identity, verified.kind) == (ALICE, AuthKind.QUERY)
    assert verified.payload.kind is PayloadKind.UNSIGNED
    with pytest.raises(RequestExpired):
        sent.verified(NOW_S + expires_s + 1)


def test_a_query_is_believed_whichever_way_a_space_is_written_and_in_any_order() -> None:
    sent = sign_in_header(params=[("prefix", "a b+c"), ("b", ""), ("a", "2"), ("a", "10"), ("a-", "")])
    for query in (
        "prefix=a+b%2Bc&b=&a=2&a=10&a-=",
        "a-&b&a=10&a=2&prefix=a%20b%2bc",
        "a=10&&b=&prefix=%61%20b%2Bc&a=2&a-=",
    ):
        assert sent._replace(query=query).verified().identity == ALICE


def test_blanks_within_a_header_count_once_and_repeated_headers_are_joined_with_a_comma() -> None:
    sent = sign_in_header(headers=[("x-amz-meta-a", "a  b \t c"), ("x-amz-meta-b", "1"), ("X-Amz-Meta-B", "2  3")])
    assert sent.headers[b"x-amz-meta-b"] == b"1,2  3"
    assert sent.verified().identity == ALICE
    assert sent.with_headers(x_amz_meta_a=b" a b c\t").verified().identity == ALICE


def altered(text: bytes, draw: st.DataObject) -> bytes:
    position = draw.draw(st.integers(0, len(text) - 1))
    byte = draw.draw(st.integers(0, 255).filter(lambda byte: byte != text[position]))
    return text[:position] + bytes([byte]) + text[position + 1 :]


def meaning(sent: Sent) -> object:
    """What a request asks for, in terms in which two spellings of the same are the same."""
    query = sorted(parse_qsl(sent.query, keep_blank_values=True, encoding="latin-1"))
    values = {name: b" ".join(value.split()) for name, value in sent.headers.items()}
    return unquote_to_bytes(sent.path.encode("latin-1")), query, values


@settings(deadline=None)
@given(st.booleans(), keys, params, headers, st.binary(max_size=9), st.data())
def test_whatever_byte_is_altered_a_signed_request_is_refused(
    presigned: bool,
    path: str,
    query: list[tuple[str, str]],
    more: list[tuple[str, str]],
    body: bytes,
    draw: st.DataObject,
) -> None:
    sent = presign("PUT", path, query, more) if presigned else sign_in_header("PUT", path, query, more, body)
    places = [name for name, value in sent.headers.items() if value] + [b"path"] + [b"query"] * bool(sent.query)
    place = draw.draw(st.sampled_from(places))
    if place == b"path":
        other = sent._replace(path=altered(sent.path.encode(), draw).decode("latin-1"))
    elif place == b"query":
        other = sent._replace(query=altered(sent.query.encode(), draw).decode("latin-1"))
    else:
        other = sent._replace(headers={**sent.headers, place: altered(sent.headers[place], draw)})
    assume(meaning(other) != meaning(sent))
    with pytest.raises(S3Error):
        other.verified()


@pytest.mark.parametrize("sign", [sign_in_header, presign])
def test_no_digit_of_a_signature_may_be_altered(sign: Callable[[], Sent]) -> None:
    sent = sign()
    text = sent.query.encode() if b"authorization" not in sent.headers else sent.headers[b"authorization"]
    assert re.fullmatch(rb".*Signature=[0-9a-f]{64}", text)
    for position in range(len(text) - 64, len(text)):
        for digit in set(b"0123456789abcdefA") - {text[position]}:
            forged = text[:position] + bytes([digit]) + text[position + 1 :]
            with pytest.raises(S3Error):
                if b"authorization" in sent.headers:
                    sent.with_headers(authorization=forged).verified()
                else:
                    sent._replace(query=forged.decode()).verified()


def test_another_method_is_another_request() -> None:
    for sent in (sign_in_header("GET"), presign("GET")):
        with pytest.raises(SignatureDoesNotMatch):
            sent._replace(method="PUT").verified()


def example(method: str, path: str, query: str, names: str, signature: str, **more: str) -> Sent:
    """A request of the S3 API Reference, "Examples: Signature Calculations in AWS Signature Version 4"."""
    credential = f"{KEY}/20130524/us-east-1/s3/aws4_request"
    named = {"host": "examplebucket.s3.amazonaws.com", "x_amz_date": "20130524T000000Z", **more}
    named["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"
    return Sent(method, path, query, joined((name.replace("_", "-"), value) for name, value in named.items()))


PUBLISHED = [
    example(
        "GET",
        "/test.txt",
        "",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        range="bytes=0-9",
        x_amz_content_sha256=EMPTY_SHA256,
    ),
    example(
        "PUT",
        "/test$file.text",
        "",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        date="Fri, 24 May 2013 00:00:00 GMT",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256=hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
    ),
    example(
        "GET",
        "/",
        "lifecycle",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        x_amz_content_sha256=EMPTY_SHA256,
    ),
    example(
        "GET",
        "/",
        "max-keys=2&prefix=J",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        x_amz_content_sha256=EMPTY_SHA256,
    ),
]


@pytest.mark.parametrize("sent", PUBLISHED, ids=["range", "dollar", "subresource", "list"])
def test_the_published_examples_are_believed(sent: Sent) -> None:
    assert sent.verified().identity == ALICE


def test_the_published_presigned_url_is_believed() -> None:
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    sent = Sent("GET", "/test.txt", query, {b"host": b"examplebucket.s3.amazonaws.com"})
    assert sent.verified(NOW_S + 86400).identity == ALICE


@pytest.mark.parametrize("path", ["/b/year=2020/a,b@c:d&e$f", "/b/(x)!*'", "/b/%7e%2a"])
def test_a_path_that_is_sent_less_encoded_than_it_is_signed_is_believed(path: str) -> None:
    strict = quote(unquote_to_bytes(path), safe="/~")
    sent = sign_in_header(path=strict)
    assert strict != path and sent._replace(path=path).verified().identity == ALICE


@pytest.mark.parametrize("path", ["/b//k", "/b/../k", "/b/./k", "/b/k/", "/b/k%2Fl"])
def test_a_path_is_not_tidied(path: str) -> None:
    sent = sign_in_header(path=path)
    assert sent.verified().identity == ALICE
    with pytest.raises(SignatureDoesNotMatch):
        sent._replace(path="/b/k").verified()


def test_the_date_header_does_as_well_as_x_amz_date() -> None:
    sent = sign_in_header(headers=[("Date", "to be replaced")])
    assert b"x-amz-date" not in sent.headers and sent.verified().identity == ALICE


@settings(deadline=None)
@given(st.integers(-SKEW_S, SKEW_S))
def test_a_clock_may_be_a_quarter_of_an_hour_off(skew_s: int) -> None:
    assert sign_in_header(moment=MOMENT + timedelta(seconds=skew_s)).verified().identity == ALICE


@pytest.mark.parametrize("skew_s", [-SKEW_S - 1, SKEW_S + 1, -WEEK_S, WEEK_S])
def test_a_clock_that_is_more_than_that_off_is_told_so(skew_s: int) -> None:
    with pytest.raises(RequestTimeTooSkewed) as raised:
        sign_in_header(moment=MOMENT + timedelta(seconds=skew_s)).verified()
    told = dict(raised.value.details)
    assert told["ServerTime"] == "2013-05-24T00:00:00Z" and told["MaxAllowedSkewMilliseconds"] == "900000"


def test_a_url_from_the_future_is_not_valid_yet() -> None:
    assert presign(moment=MOMENT + timedelta(seconds=SKEW_S)).verified().identity == ALICE
    with pytest.raises(AccessDenied, match="not valid yet"):
        presign(moment=MOMENT + timedelta(seconds=SKEW_S + 1)).verified()


@pytest.mark.parametrize("expires_s", [WEEK_S + 1, -1, 10**12])
def test_a_url_for_longer_than_a_week_is_refused(expires_s: int) -> None:
    with pytest.raises(AuthorizationQueryParametersError, match="X-Amz-Expires"):
        presign(expires_s=expires_s).verified()


def test_another_region_is_named_the_right_one() -> None:
    for sent, wrong in (
        (sign_in_header(region="eu-central-1"), AuthorizationHeaderMalformed),
        (presign(region="eu-central-1"), AuthorizationQueryParametersError),
    ):
        with pytest.raises(wrong, match="expecting 'us-east-1'") as raised:
            sent.verified()
        assert ("Region", "us-east-1") in raised.value.details
        assert sent.verified(by=verifier(region=None)).identity == ALICE


def test_an_unknown_key_and_a_wrong_secret_are_told_apart() -> None:
    for sign in (sign_in_header, presign):
        with pytest.raises(InvalidAccessKeyId):
            sign(key=("nobody", SECRET)).verified()
        with pytest.raises(SignatureDoesNotMatch):
            sign(key=(KEY, OTHER_SECRET)).verified()
        assert sign(key=(OTHER_KEY, OTHER_SECRET)).verified().identity.name == "bob"


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("/s3/", "/sts/"),
        ("/aws4_request", "/aws5_request"),
        ("20130524/", "20130523/"),
        ("Credential=", "Credentials="),
        (", SignedHeaders=host", ""),
        ("Signature=", "Signature=0"),
        ("Credential=AKIAIOSFODNN7EXAMPLE/", "Credential="),
    ],
)
def test_a_header_that_cannot_be_read_is_called_malformed(part: str, other: str) -> None:
    sent = sign_in_header()
    authorization = sent.headers[b"authorization"].decode()
    assert part in authorization
    with pytest.raises(AuthorizationHeaderMalformed):
        sent.with_headers(authorization=authorization.replace(part, other).encode()).verified()


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"])
def test_a_presigned_url_without_one_of_its_parameters_or_with_two_is_refused(name: str) -> None:
    sent = presign()
    (pair,) = re.findall(rf"X-Amz-{name}=[^&]*", sent.query)
    for query in (sent.query.replace(pair, ""), f"{sent.query}&{pair}", sent.query.replace(pair, f"X-Amz-{name}=")):
        with pytest.raises(AuthorizationQueryParametersError, match=f"X-Amz-{name}"):
            sent._replace(query=query).verified()


def test_sigv2_is_refused_with_the_advice_to_use_sigv4() -> None:
    in_header = {b"host": b"h", b"authorization": b"AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="}
    for sent in (
        Sent("GET", "/", "", in_header),
        Sent("GET", "/", f"AWSAccessKeyId={KEY}&Signature=x&Expires=1", {b"host": b"h"}),
    ):
        with pytest.raises(InvalidRequest, match="Please use AWS4-HMAC-SHA256"):
            sent.verified()


def test_other_authorizations_are_refused_and_not_repeated() -> None:
    sent = Sent("GET", "/", "", {b"host": b"h", b"authorization": b"Basic c2VjcmV0OnNlY3JldA=="})
    with pytest.raises(InvalidArgument, match="Unsupported Authorization Type") as raised:
        sent.verified()
    assert "c2Vj" not in str(raised.value) + str(raised.value.details)


def test_two_ways_at_once_are_refused() -> None:
    sent = sign_in_header()
    with pytest.raises(InvalidArgument, match="Only one auth mechanism"):
        sent._replace(query=presign().query).verified()
    with pytest.raises(InvalidArgument, match="Only one auth mechanism"):
        sent.with_headers(x_access_key=KEY.encode()).verified(by=verifier(simple_keys=True))


def test_a_signed_request_must_say_what_its_body_is() -> None:
    with pytest.raises(InvalidRequest, match="x-amz-content-sha256"):
        sign_in_header().with_headers(x_amz_content_sha256=None).verified()


def test_every_amz_header_must_be_signed_and_host() -> None:
    for sent in (sign_in_header(), presign()):
        with pytest.raises(AccessDenied, match="not signed") as raised:
            sent.with_headers(x_amz_acl=b"public-read").verified()
        assert raised.value.details == (("HeadersNotSigned", "x-amz-acl"),)
    sent = sign_in_header()
    without_host = sent.headers[b"authorization"].replace(b"SignedHeaders=host;", b"SignedHeaders=")
    with pytest.raises(AccessDenied, match="not signed"):
        sent.with_headers(authorization=without_host).verified()


def test_a_signed_header_that_was_removed_is_missed() -> None:
    sent = sign_in_header(headers=[("Content-MD5", "")])
    with pytest.raises(SignatureDoesNotMatch, match="content-md5"):
        sent.with_headers(content_md5=None).verified()


def test_session_tokens_are_refused() -> None:
    with pytest.raises(InvalidToken):
        sign_in_header(headers=[("X-Amz-Security-Token", "token")]).verified()
    with pytest.raises(InvalidToken):
        presign(params=[("X-Amz-Security-Token", "token")]).verified()


def test_a_request_without_a_date_is_refused() -> None:
    for date in (None, b"yesterday", b"20130524T000000", b"20131324T000000Z", b"\xff"):
        with pytest.raises(AccessDenied, match="Date"):
            sign_in_header().with_headers(x_amz_date=date).verified()
    old = formatdate(datetime(2013, 5, 23, tzinfo=UTC).timestamp()).encode()
    with pytest.raises(AuthorizationHeaderMalformed, match="date"):
        sign_in_header().with_headers(x_amz_date=None, date=old).verified()


def test_somebody_without_credentials_is_anonymous() -> None:
    verified = Sent("GET", "/b/k", "versionId=1", {b"host": b"h"}).verified()
    assert verified.identity is ANONYMOUS and verified.identity.anonymous
    assert (verified.kind, verified.payload.kind) == (AuthKind.ANONYMOUS, PayloadKind.UNSIGNED)


def test_keys_in_the_clear_are_believed_only_where_they_are_enabled() -> None:
    sent = Sent("GET", "/b/k", "", {b"x-access-key": KEY.encode(), b"x-secret-key": SECRET.encode()})
    verified = sent.verified(by=verifier(simple_keys=True))
    assert (verified.identity, verified.kind) == (ALICE, AuthKind.SIMPLE)
    with pytest.raises(AccessDenied, match="not enabled"):
        sent.verified()
    for secret in (None, b"", SECRET.encode()[:-1], OTHER_SECRET.encode(), b"\xff\xfe"):
        with pytest.raises(AccessDenied, match="not the secret"):
            sent.with_headers(x_secret_key=secret).verified(by=verifier(simple_keys=True))
    for key in (None, b"", b"nobody", b"\xff"):
        with pytest.raises(InvalidAccessKeyId):
            sent.with_headers(x_access_key=key).verified(by=verifier(simple_keys=True))


def test_no_refusal_and_no_repr_shows_a_secret_or_the_right_signature() -> None:
    sent = sign_in_header()
    right = sent.headers[b"authorization"][-64:].decode()
    by = verifier()
    sent.verified(by=by)
    shown = [repr(by), repr(vars(by)), repr(sent.verified(by=by))]
    for wrong in (sent._replace(path="/x"), sent._replace(path="/x").with_headers(authorization=b"AWS4-HMAC-SHA256 x")):
        forged = wrong.with_headers(authorization=wrong.headers[b"authorization"].replace(right.encode(), b"0" * 64))
        with pytest.raises(S3Error) as raised:
            forged.verified(by=by)
        shown.append(f"{raised.value!r} {raised.value.details}")
    key = signing_key(SECRET, Scope.of("20130524", "us-east-1"))
    assert not any(secret in text for text in shown for secret in (SECRET, key.hex(), repr(key)[2:-1]))


def test_signing_keys_are_kept_within_bounds_and_only_after_a_right_signature() -> None:
    keys, credential = SigningKeys(), Credential(Identity("k", "k"), SECRET)
    for day in range(2 * CACHED_KEYS_MAX + 1):
        scope = Scope.of(str(day), "us-east-1")
        assert keys.get(credential, scope) == (signing_key(SECRET, scope) if day < 9 else keys.get(credential, scope))
        keys.keep(credential, scope, b"")
    assert repr(keys) == "SigningKeys(1 cached)"
    by = verifier()
    with pytest.raises(SignatureDoesNotMatch):
        sign_in_header(key=(KEY, OTHER_SECRET)).verified(by=by)
    assert "SigningKeys(0 cached)" in repr(vars(by))
    assert [sign_in_header().verified(by=by).identity for _ in range(2)] == [ALICE, ALICE]
    assert "SigningKeys(1 cached)" in repr(vars(by))


wire_texts = st.binary(max_size=30).map(lambda raw: raw.decode("latin-1"))
amz_queries = st.lists(
    st.sampled_from(
        ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Content-Sha256"]
    ).flatmap(lambda name: wire_texts.map(lambda value: f"X-Amz-{name}={value}")),
    max_size=8,
).map("&".join)
spoken = st.sampled_from(
    [
        b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, "
        b"Signature=" + b"0" * 64,
        b"20130524T000000Z",
        b"Fri, 24 May 2013 00:00:00 GMT",
        b"UNSIGNED-PAYLOAD",
        b"host",
        KEY.encode(),
    ]
)
known_names = st.sampled_from(
    [b"authorization", b"x-amz-date", b"date", b"host", b"x-amz-content-sha256", b"x-access-key", b"content-encoding"]
)
any_headers = st.dictionaries(known_names | st.binary(max_size=8), spoken | st.binary(max_size=40), max_size=6)


@settings(deadline=None)
@given(wire_texts, wire_texts | amz_queries, any_headers, st.booleans(), st.floats(0, 4e9))
def test_whatever_arrives_is_refused_properly_or_anonymous(
    path: str, query: str, any_of: dict[bytes, bytes], simple_keys: bool, now_s: float
) -> None:
    by = Verifier(verifier()._credentials, None, simple_keys)
    try:
        assert by.verify("GET", path, query, any_of, now_s).identity is ANONYMOUS
    except S3Error:
        pass
