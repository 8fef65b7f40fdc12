"""A form uploads what its policy allows, and nothing else; its file comes out as it was put in, however it arrives.

The oracles: botocore signs the policies, urllib3 writes the forms.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from impl.api.s3.auth_errors import IncorrectNumberOfFilesInPostRequest, RequestIsNotMultiPartContent
from impl.api.s3.credentials import ANONYMOUS
from impl.api.s3.errors import (
    AccessDenied,
    AuthorizationQueryParametersError,
    EntityTooLarge,
    EntityTooSmall,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidPolicyDocument,
    InvalidRequest,
    InvalidToken,
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceeded,
    S3Error,
    SignatureDoesNotMatch,
    UserKeyMustBeSpecified,
)
from impl.api.s3.forms import FIELDS_BYTES_MAX, Form, FormReader
from impl.api.s3.forms_policy import SizeRange, VerifiedForm, read_policy, verify_form
from impl.api.s3.tests.auth_rig import ALICE, KEY, MOMENT, NOW_S, OTHER_SECRET, REGION, SECRET, verifier

BOUNDARY = "BOUNDARY"
TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()
LATER = "2013-05-24T01:00:00.000Z"

Fields = dict[str, str]


def signed(
    fields: Mapping[str, str],
    conditions: Sequence[object],
    expiration: str = LATER,
    key: tuple[str, str] = (KEY, SECRET),
    region: str = REGION,
) -> Fields:
    """The fields of a form, with the policy and signature that botocore adds."""
    request = AWSRequest("POST", "http://node.example/bucket")
    request.context["s3-presign-post-fields"] = dict(fields)
    policy = {"expiration": expiration, "conditions": list(conditions)}
    request.context["s3-presign-post-policy"] = policy
    with patch("botocore.auth.get_current_datetime", lambda: MOMENT):
        S3SigV4PostAuth(BotocoreCredentials(*key), "s3", region).add_auth(request)
    result: Fields = request.context["s3-presign-post-fields"]
    return result


def signed_document(document: object) -> Fields:
    """Fields whose policy is whatever is given, rightly signed."""
    fields = signed({"key": "k"}, [])
    fields["policy"] = document if isinstance(document, str) else encoded(document)
    signer = S3SigV4PostAuth(BotocoreCredentials(KEY, SECRET), "s3", REGION)
    request = AWSRequest("POST", "http://node.example/bucket")
    request.context["timestamp"] = fields["x-amz-date"]
    fields["x-amz-signature"] = signer.signature(fields["policy"], request)
    return fields


def encoded(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def form(fields: Mapping[str, str]) -> Form:
    return Form({name.lower(): value for name, value in fields.items()}, "", "")


def verified(fields: Mapping[str, str], bucket: str = "bucket", now_s: float = NOW_S) -> VerifiedForm:
    return verify_form(verifier(), form(fields), bucket, now_s)


def exact(fields: Mapping[str, str]) -> list[Any]:
    return [{"bucket": "bucket"}, *({name: value} for name, value in fields.items())]


def body(
    fields: Mapping[str, str], file: bytes | None, file_name: str = "", after: Mapping[str, str] | None = None
) -> bytes:
    parts: list[Any] = list(fields.items())
    if file is not None:
        part = RequestField("file", file, filename=file_name)
        part.make_multipart(content_type="text/plain")
        parts.append(part)
    return encode_multipart_formdata([*parts, *(after or {}).items()], BOUNDARY)[0]


def read(raw: bytes, cuts: Sequence[int] = ()) -> tuple[Form, bytes]:
    reader = FormReader(TYPE)
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    pieces: list[bytes] = []
    for start, end in pairwise(places):
        pieces += reader.feed(raw[start:end])
        assert reader.form is not None or not pieces
    reader.finish()
    assert reader.form is not None
    return reader.form, b"".join(pieces)


names = st.from_regex(r"x-amz-meta-[a-z0-9]{1,8}", fullmatch=True)
values = st.text(st.characters(codec="utf-8"), max_size=12)
nearly = st.sampled_from([b"\r\n--BOUNDAR", b"--BOUNDARY", b"\r\n", b"\r", b"\n--", b"-", b"Y"])
files = (
    st.lists(nearly | st.binary(max_size=6), max_size=8)
    .map(b"".join)
    .filter(lambda file: b"\r\n--BOUNDARY" not in b"\r\n" + file + b"\r")
)


@settings(deadline=None)
@given(st.dictionaries(names, values, max_size=4), files, st.lists(st.integers(0, 4000), max_size=30))
def test_a_form_reads_the_same_in_whatever_pieces_it_comes(fields: Fields, file: bytes, cuts: list[int]) -> None:
    fields = {"key": "a/é b", **fields}
    raw = body(fields, file, "dir/f.txt", {"submit": "later"})
    for places in (cuts, range(len(raw))):
        assert read(raw, places) == (Form(fields, "f.txt", "text/plain"), file)


@settings(deadline=None)
@given(files, st.data())
def test_a_form_that_is_cut_short_is_refused(file: bytes, draw: st.DataObject) -> None:
    raw = body({"key": "k"}, file)
    end = draw.draw(st.integers(0, len(raw) - len("--\r\n")))
    with pytest.raises(MalformedPOSTRequest):
        read(raw[:end])


@pytest.mark.parametrize(
    ("file_name", "key", "wanted"),
    [
        ("f.txt", "user/${filename}", "user/f.txt"),
        ("C:\\dir\\f.txt", "${filename}", "f.txt"),
        ("a/b/f.txt", "${filename}/${filename}", "f.txt/f.txt"),
        ("${filename}", "x${filename}", "x${filename}"),
        ("f.txt", "plain", "plain"),
    ],
)
def test_the_name_of_the_file_is_put_into_the_key(file_name: str, key: str, wanted: str) -> None:
    disposition = f'form-data; name="file"; filename="{file_name}"'.encode()
    part = b"--BOUNDARY\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n--BOUNDARY--\r\n"
    found, file = read(body({"Key": key}, None).removesuffix(b"--BOUNDARY--\r\n") + part)
    assert (found.key, file) == (wanted, b"x")


def test_what_comes_after_the_file_is_ignored() -> None:
    found, file = read(body({"key": "k"}, b"file", "", {"acl": "public-read", "key": "other", "x": "y" * 100_000}))
    assert (found.fields, file) == ({"key": "k"}, b"file")


def test_a_form_needs_a_file_and_a_key_before_it() -> None:
    with pytest.raises(IncorrectNumberOfFilesInPostRequest):
        read(body({"key": "k"}, None))
    for fields in ({}, {"key": ""}, {"keys": "k"}):
        with pytest.raises(UserKeyMustBeSpecified):
            read(body(fields, b"x", "", {"key": "late"}))


def test_a_field_that_comes_twice_in_any_case_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="twice"):
        read(body({"key": "k", "Key": "l"}, b"x"))


@pytest.mark.parametrize(
    "fields",
    [
        {"a": "x" * FIELDS_BYTES_MAX},
        {f"n{at}": "" for at in range(2000)},
        {"n" * (FIELDS_BYTES_MAX // 10): "x" * 19000},
    ],
)
def test_the_fields_before_the_file_are_bounded(fields: Fields) -> None:
    raw = body(fields, b"x")
    for piece_bytes in (1, 1000, len(raw)):
        with pytest.raises((MaxPostPreDataLengthExceeded, MalformedPOSTRequest)) as raised:
            read(raw, range(0, len(raw), piece_bytes))
        assert raised.value.status == 400


def test_the_file_is_passed_on_and_not_held() -> None:
    reader = FormReader(TYPE)
    reader.feed(body({"key": "k"}, b"")[: -len("\r\n--BOUNDARY--\r\n")])
    for _ in range(3):
        assert reader.feed(b"x" * 100_000) == [b"x" * 100_000]


@pytest.mark.parametrize("content_type", [b"", b"text/plain", b"multipart/mixed; boundary=x", b"\xff"])
def test_another_content_type_is_refused(content_type: bytes) -> None:
    with pytest.raises(RequestIsNotMultiPartContent):
        FormReader(content_type)


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 71}", '; boundary="a\rb"', "; boundary=é"])
def test_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedPOSTRequest, match="boundary"):
        FormReader(f"multipart/form-data{boundary}".encode())


@pytest.mark.parametrize(
    "part",
    [
        b"\r\n\r\nx",
        b"Content-Disposition: form-data\r\n\r\nx",
        b'Content-Disposition: attachment; name="key"\r\n\r\nx',
        b'Content-Disposition: form-data; name="\xff"\r\n\r\nx',
        b'Content-Disposition: form-data; name="key"\r\n\r\n\xff',
        b"no header\r\n\r\nx",
        b"A: " + b"x" * 10_000 + b"\r\n\r\nx",
        b"A: b\r\n" * 20 + b"\r\nx",
    ],
)
def test_a_part_that_cannot_be_read_is_refused(part: bytes) -> None:
    raw = b"--BOUNDARY\r\n" + part + b"\r\n" + body({}, b"x")
    with pytest.raises(MalformedPOSTRequest):
        read(raw)


@pytest.mark.parametrize("before", [b"\r\n", b"\r\nA: b", b"preamble\r\n", b"-"])
def test_a_body_begins_with_its_boundary_however_it_comes(before: bytes) -> None:
    raw = before + body({"key": "k"}, b"x")
    for cuts in ([], [2], range(len(raw))):
        with pytest.raises(MalformedPOSTRequest, match="does not begin"):
            read(raw, cuts)


def test_after_an_error_there_is_only_that_error() -> None:
    reader = FormReader(TYPE)
    with pytest.raises(MalformedPOSTRequest) as first:
        reader.feed(b"nonsense")
    with pytest.raises(MalformedPOSTRequest) as again:
        reader.feed(body({"key": "k"}, b"x"))
    assert again.value is first.value
    with pytest.raises(MalformedPOSTRequest):
        reader.finish()


# -- the policy


@settings(deadline=None)
@given(st.dictionaries(names, values, max_size=4), st.sampled_from(["eq", "Eq", "dict", "starts-with"]))
def test_a_form_that_botocore_signed_is_believed(fields: Fields, how: str) -> None:
    fields = {"key": "user/x", "Content-Type": "image/png", **fields}
    conditions = exact(fields)
    if how != "dict":
        conditions = [[how, f"${name}", value] for condition in conditions for name, value in condition.items()]
    assert verified(signed(fields, conditions)) == VerifiedForm(ALICE, SizeRange())


@settings(deadline=None)
@given(st.dictionaries(names, values, min_size=1, max_size=3), st.data())
def test_no_field_of_a_signed_form_may_be_altered_added_or_left_out(fields: Fields, draw: st.DataObject) -> None:
    whole = signed({"key": "k", **fields}, exact({"key": "k", **fields}))
    assert verified(whole).identity == ALICE
    name = draw.draw(st.sampled_from(sorted(whole)))
    other = draw.draw(values.filter(lambda value: value != whole[name]))
    left_out = {field: value for field, value in whole.items() if field != name}
    for forged in ({**whole, name: other}, {**whole, "x-amz-meta-not-there-before": other}):
        with pytest.raises(S3Error):
            verified(forged)
    if whole[name]:
        with pytest.raises(S3Error):
            verified(left_out)


def test_a_form_for_another_bucket_is_refused() -> None:
    fields = signed({"key": "k"}, exact({"key": "k"}))
    with pytest.raises(AccessDenied, match="Policy Condition failed"):
        verified(fields, bucket="other")
    with pytest.raises(AccessDenied, match="Extra input fields: bucket"):
        verified(signed({"key": "k"}, [{"key": "k"}]))


def test_a_policy_is_good_until_it_expires() -> None:
    fields = signed({"key": "k"}, exact({"key": "k"}))
    assert verified(fields, now_s=NOW_S + 3600).identity == ALICE
    with pytest.raises(AccessDenied, match="Policy expired"):
        verified(fields, now_s=NOW_S + 3601)


@pytest.mark.parametrize(
    ("condition", "value", "met"),
    [
        (["starts-with", "$x-amz-meta-a", "ab"], "abc", True),
        (["starts-with", "$x-amz-meta-a", "ab"], "xab", False),
        (["starts-with", "$X-Amz-Meta-A", ""], "whatever", True),
        (["StArTs-WiTh", "$x-amz-meta-a", "é"], "éa", True),
        (["eq", "$x-amz-meta-a", "ab"], "abc", False),
        ({"X-AMZ-meta-a": "abc"}, "abc", True),
        ({"x-amz-meta-a": 201}, "201", True),
        ({"x-amz-meta-a": "abc", "key": "other"}, "abc", False),
    ],
)
def test_conditions_are_met_or_not(condition: object, value: str, met: bool) -> None:
    fields = signed({"key": "k", "x-amz-meta-a": value}, [*exact({"key": "k"}), condition])
    if met:
        assert verified(fields).identity == ALICE
    else:
        with pytest.raises(AccessDenied, match="Policy Condition failed"):
            verified(fields)


@pytest.mark.parametrize(("types", "met"), [("image/png,image/gif", True), ("image/png, text/html", False)])
def test_each_of_several_content_types_must_meet_the_condition(types: str, met: bool) -> None:
    conditions = [*exact({"key": "k"}), ["starts-with", "$Content-Type", "image/"]]
    fields = signed({"key": "k", "Content-Type": types}, conditions)
    if met:
        assert verified(fields).identity == ALICE
    else:
        with pytest.raises(AccessDenied):
            verified(fields)


def test_fields_to_be_ignored_need_no_condition() -> None:
    fields = signed({"key": "k"}, exact({"key": "k"}))
    assert verified({**fields, "x-ignore-this": "x"}).identity == ALICE
    with pytest.raises(AccessDenied, match="Extra input fields: submit"):
        verified({**fields, "submit": "x"})


def test_the_size_of_the_file_is_kept_within_all_ranges() -> None:
    ranges = [["content-length-range", 3, 10], ["Content-Length-Range", 0, 8]]
    size = verified(signed({"key": "k"}, [*exact({"key": "k"}), *ranges])).size
    assert size == SizeRange(3, 8)
    size.check(8, ended=True)
    size.check(0, ended=False)
    with pytest.raises(EntityTooLarge):
        size.check(9, ended=False)
    with pytest.raises(EntityTooSmall):
        size.check(2, ended=True)
    SizeRange().check(10**15, ended=True)


RIGHT = {"expiration": LATER, "conditions": [{"bucket": "bucket"}]}


@pytest.mark.parametrize(
    "document",
    [
        [],
        "",
        {"conditions": []},
        {"expiration": LATER},
        {"EXPIRATION": LATER, "conditions": []},
        {**RIGHT, "expiration": "2013-05-24 01:00:00"},
        {**RIGHT, "expiration": "2013-13-24T01:00:00Z"},
        {**RIGHT, "expiration": 1369357200},
        {**RIGHT, "conditions": {}},
        *(
            {**RIGHT, "conditions": [condition]}
            for condition in (
                {},
                [],
                "eq",
                ["eq", "$key"],
                ["eq", "key", "k"],
                ["matches", "$key", "k"],
                ["eq", "$key", ["k"]],
                {"key": None},
                {"key": True},
                ["content-length-range", 1],
                ["content-length-range", -1, 5],
                ["content-length-range", 5, 1],
                ["content-length-range", "1", "5"],
            )
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(document: object) -> None:
    with pytest.raises(InvalidPolicyDocument):
        verified(signed_document(encoded(document)))


@pytest.mark.parametrize("raw", ["bm8ganNvbg==", "not base64!", "e30", "eyJ", "W1tbW1tbW1tbW1tb" * 1000])
def test_a_policy_that_is_no_json_is_refused(raw: str) -> None:
    with pytest.raises(InvalidPolicyDocument):
        verified(signed_document(raw))


def test_who_signed_the_form_is_decided_as_for_other_requests() -> None:
    conditions = exact({"key": "k"})
    with pytest.raises(InvalidAccessKeyId):
        verified(signed({"key": "k"}, conditions, key=("nobody", SECRET)))
    with pytest.raises(SignatureDoesNotMatch):
        verified(signed({"key": "k"}, conditions, key=(KEY, OTHER_SECRET)))
    with pytest.raises(AuthorizationQueryParametersError, match="expecting 'us-east-1'"):
        verified(signed({"key": "k"}, conditions, region="eu-central-1"))
    with pytest.raises(InvalidToken):
        verified({**signed({"key": "k"}, conditions), "x-amz-security-token": "t"})


def test_a_form_without_policy_is_anonymous_and_half_a_signature_is_refused() -> None:
    assert verified({"key": "k"}) == VerifiedForm(ANONYMOUS, SizeRange())
    whole = signed({"key": "k"}, exact({"key": "k"}))
    for name in ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"):
        for forged in ({**whole, name: ""}, {field: value for field, value in whole.items() if field != name}):
            with pytest.raises(InvalidArgument, match=name):
                verified(forged)


def test_sigv2_forms_are_refused_with_the_advice_to_use_sigv4() -> None:
    with pytest.raises(InvalidRequest, match="Please use AWS4-HMAC-SHA256"):
        verified({"key": "k", "AWSAccessKeyId": KEY, "policy": encoded(RIGHT), "signature": "x"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
        ("x-amz-date", "today"),
        ("x-amz-signature", "0" * 63),
        ("x-amz-credential", KEY),
        ("x-amz-credential", f"{KEY}/20130523/us-east-1/s3/aws4_request"),
    ],
)
def test_a_form_whose_signature_cannot_be_read_is_refused(field: str, value: str) -> None:
    with pytest.raises(AuthorizationQueryParametersError):
        verified({**signed({"key": "k"}, exact({"key": "k"})), field: value})


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["eq", "$key", LATER])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
)


@settings(deadline=None)
@given(documents, documents)
def test_whatever_the_policy_is_nothing_but_an_s3_error_is_raised(expiration: object, conditions: object) -> None:
    for document in (conditions, {"expiration": LATER, "conditions": conditions}, {"expiration": expiration}):
        try:
            read_policy(encoded(document))
        except InvalidPolicyDocument:
            pass


headers = st.sampled_from(
    [b'Content-Disposition: form-data; name="file"', b"Content-Disposition:", b"A: b", b'; name="key"']
)
syntax = st.sampled_from([b"--BOUNDARY", b"--BOUNDARY--", b"\r\n", b"\r\n\r\n", b"-", b"\n"]) | headers


@settings(deadline=None)
@given(st.lists(syntax | st.binary(max_size=8), max_size=14), st.lists(st.integers(0, 500), max_size=9))
def test_whatever_body_arrives_nothing_but_an_s3_error_is_raised(pieces: list[bytes], cuts: list[int]) -> None:
    results: list[object] = []
    for places in ((), cuts):
        try:
            results.append(read(b"".join(pieces), places))
        except S3Error as error:
            results.append(type(error))
    assert results[0] == results[1]


@settings(deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda raw: b"multipart/form-data; boundary=" + raw))
def test_whatever_content_type_arrives_nothing_but_an_s3_error_is_raised(content_type: bytes) -> None:
    try:
        FormReader(content_type)
    except S3Error:
        pass
