"""What is fuzzed: each target takes any bytes, reads them as one of our parsers does, and raises only what is a bug.

A parser may refuse, with an error that a client is told of with a status below 500 (or 501). Anything else is a crash.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from impl.api import conditions
from impl.api.s3 import cors, errors, listing, metadata, policy, tags, xml_requests
from impl.api.s3.auth import Payload, PayloadKind
from impl.api.s3.call import bare_names, query_arguments
from impl.api.s3.checksums import declared_by, of_new_upload
from impl.api.s3.chunked import decoder_for
from impl.api.s3.forms import FormReader
from impl.api.s3.forms_policy import check_policy, read_policy, verify_form
from impl.api.s3.names import copy_source, target
from impl.api.s3.policy import Asks
from impl.api.s3.policy_conditions import Asked, context
from impl.api.s3.shapes import CannedAcl
from impl.api.s3.tests.auth_rig import KEY, NOW_S, SECRET, Sent, joined, presign, sign_in_header, verifier
from impl.api.s3.tests.test_chunked import CHAIN, encode
from impl.api.s3.tests.test_forms import signed
from impl.errors import AmberioError
from impl.model import Head

PIECE_BYTES: Final = 7
"""Bodies come in pieces of so many bytes, so that every state of a parser meets an end of input."""
DOMAINS: Final = ("s3.example.org", "example.org")
_VERIFIER: Final = verifier(simple_keys=True)
_CHUNKED: Final = [Payload(kind, chain=CHAIN if kind.signed_chunks else None) for kind in PayloadKind if kind.chunked]
_HEAD: Final = Head(1, False, "etag", 1000, "", 1_369_353_600_000, b"", (), ())


class Target(msgspec.Struct, frozen=True):
    """A parser with inputs to begin with."""

    name: str
    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]

    def __call__(self, fuzzed: bytes) -> bool:
        """Was the input understood? Raises what the parser must not raise."""
        try:
            self.read(fuzzed)
        except AmberioError as error:
            told = errors.answer(error)
            if 400 <= told.status < 500 or told.status in (304, 501):
                errors.error_xml(error, "/", "id")
                return False
            raise
        return True


# -- requests as text: a line with method, path and query, then headers; the bytes of header values are kept


def _as_text(sent: Sent) -> bytes:
    line = f"{sent.method} {sent.path}?{sent.query}".encode("latin-1")
    return b"\n".join([line, *(name + b": " + value for name, value in sent.headers.items())])


def _as_sent(fuzzed: bytes) -> Sent:
    line, *lines = fuzzed.split(b"\n")
    method, _, url = line.decode("latin-1").partition(" ")
    path, _, query = url.partition("?")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Sent(method, path, query, joined((name.strip(), value) for name, _, value in pairs))


def _signed_headers(fuzzed: bytes) -> None:
    sent = _as_sent(fuzzed)
    verified = sent.verified(by=_VERIFIER)
    texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent.headers.items()}
    declared_by(texts)
    of_new_upload(texts)
    metadata.of_request(texts)
    if verified.payload.kind.chunked:
        decoder_for(verified.payload, sent.headers)


def _presigned(fuzzed: bytes) -> None:
    _as_sent(b"GET /bucket/key?" + fuzzed + b"\nhost: node.example:8080").verified(by=_VERIFIER)


def _chunked(fuzzed: bytes) -> None:
    """A byte that says how the chunks are signed, a line of headers, the body."""
    payload = _CHUNKED[fuzzed[0] % len(_CHUNKED)] if fuzzed else _CHUNKED[0]
    size, _, rest = fuzzed[1:].partition(b"\n")
    trailer, _, body = rest.partition(b"\n")
    decoder = decoder_for(payload, {b"x-amz-decoded-content-length": size, b"x-amz-trailer": trailer})
    decoded_bytes = sum(len(piece) for fed in _pieces(body) for piece in decoder.feed(fed))
    decoder.finish()
    assert decoded_bytes == decoder.size_bytes, "what was decoded is not what was announced"


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))


_DOCUMENTS: Final[Sequence[Callable[[bytes], object]]] = (
    xml_requests.complete_multipart_upload,
    xml_requests.delete,
    xml_requests.versioning_configuration,
    lambda body: xml_requests.tagging(body, 10),
    lambda body: cors.check_rules(xml_requests.cors_configuration(body)),
    xml_requests.create_bucket_configuration,
    xml_requests.access_control_policy,
)


def _xml(fuzzed: bytes) -> None:
    """A byte that says which document is expected, and the document."""
    _DOCUMENTS[fuzzed[0] % len(_DOCUMENTS) if fuzzed else 0](fuzzed[1:])


_OF_QUERIES: Final[Sequence[Callable[[list[str]], object]]] = (
    lambda lines: target(lines[0], lines[1], DOMAINS),
    lambda lines: _arguments(lines[0]),
    lambda lines: copy_source(lines[0]),
    lambda lines: _range(lines[0]),
    lambda lines: conditions.read_verdict(_HEAD, lines[0], lines[1], lines[2], lines[3]),
    lambda lines: conditions.write_condition(lines[0], lines[1], lines[2]),
    lambda lines: conditions.range_applies(_HEAD, lines[0]),
    lambda lines: tags.tags_of_header(lines[0]),
)


def _query(fuzzed: bytes) -> None:
    """A byte that says what is read, then lines: host and path, query, copy source, range, conditions, tags."""
    lines = [line.decode("latin-1") for line in fuzzed[1:].split(b"\n")]
    _OF_QUERIES[fuzzed[0] % len(_OF_QUERIES) if fuzzed else 0]([*lines, "", "", "", ""])


def _arguments(query: str) -> None:
    arguments = query_arguments(query)
    bare_names(query)
    listing.max_entries("max-keys", arguments.get("max-keys"))
    listing.is_url_encoded(arguments.get("encoding-type"))
    if "continuation-token" in arguments:
        listing.decode_token(arguments["continuation-token"])


def _range(header: str) -> None:
    for size_bytes in (0, 1, 1000):
        found = conditions.byte_range(header, size_bytes)
        if found is not None and found != "unsatisfiable":
            assert 0 <= found[0] < found[1] <= size_bytes, f"{found} is not in {size_bytes} bytes"


def _form(fuzzed: bytes) -> None:
    """A line with the content type, then the body."""
    kind, _, body = fuzzed.partition(b"\n")
    reader = FormReader(kind)
    for piece in _pieces(body):
        reader.feed(piece)
    reader.finish()
    form = reader.form
    assert form is not None, "a form that ended has a file"
    if "policy" in form.fields:
        check_policy(read_policy(form.fields["policy"]), form.fields, "bucket", NOW_S)
    verify_form(_VERIFIER, form, "bucket", NOW_S)


_ASKED: Final = context(Asked("192.0.2.1", True, int(NOW_S), {}, {}, "alice", "REST-HEADER"))


def _policy(fuzzed: bytes) -> None:
    read = policy.parse(fuzzed, "bucket")
    policy.is_public(read)
    for action, resource in (("s3:GetObject", "arn:aws:s3:::bucket/k"), ("s3:ListBucket", "arn:aws:s3:::bucket")):
        for names in (frozenset(), frozenset({KEY, "arn:aws:iam:::user/alice"})):
            asks = Asks(action, resource, names, _ASKED)
            policy.is_allowed(asks, is_owner=False, policy=read, acl=CannedAcl.PRIVATE)


# -- what to begin with


def _of_headers() -> tuple[bytes, ...]:
    chunked = [("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("x-amz-decoded-content-length", "5")]
    plain = Sent("GET", "/b/k", "", {b"host": b"h", b"x-access-key": KEY.encode(), b"x-secret-key": SECRET.encode()})
    return tuple(
        map(
            _as_text,
            (
                sign_in_header(),
                sign_in_header("PUT", "/bucket/a%20b+c", [("partNumber", "1"), ("uploadId", "u")], body=b"body"),
                sign_in_header("PUT", headers=chunked),
                sign_in_header("PUT", headers=[("x-amz-meta-a", "1"), ("x-amz-checksum-crc32", "AAAAAA==")]),
                sign_in_header("PUT", headers=[("x-amz-trailer", "x-amz-checksum-crc32c"), ("content-md5", "x")]),
                sign_in_header("POST", headers=[("x-amz-tagging", "a=b&c=d"), ("x-amz-checksum-algorithm", "SHA256")]),
                presign(),
                plain,
                Sent("GET", "/", "", {b"host": b"h", b"authorization": b"AWS AKIA:c2ln"}),
            ),
        )
    )


def _of_chunks() -> tuple[bytes, ...]:
    unsigned = b"5\r\nhello\r\n3\r\nabc\r\n0\r\n"
    forged = b"5;chunk-signature=" + b"a" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"b" * 64 + b"\r\n\r\n"
    seeds = [
        b"8\n\n" + unsigned + b"\r\n",
        b"8\nx-amz-checksum-crc32\n" + unsigned + b"x-amz-checksum-crc32:AAAAAA==\n\r\n\r\n",
        b"5\n\n" + forged,
        b"0\n\n0\r\n\r\n",
    ]
    right = []
    for kind, payload in enumerate(_CHUNKED):
        name = "" if payload.kind is PayloadKind.SIGNED_CHUNKS else "x-amz-checksum-crc32"
        body = encode([b"hello", b"abc"], {name: "AAAAAA=="} if name else {}, payload)
        right.append(bytes([kind]) + f"8\n{name}\n".encode() + body)
    return (*right, *(bytes([kind]) + seed for kind in range(len(_CHUNKED)) for seed in seeds))


_XML: Final = (
    b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber>'
    b"<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><Part>"
    b"<PartNumber>2</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<Delete><Quiet>true</Quiet><Object><Key>a&#x2F;b</Key><VersionId>null</VersionId><ETag>e</ETag><Size>1</Size>"
    b"<LastModifiedTime>2024-01-01T00:00:00Z</LastModifiedTime></Object></Delete>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    b"<CORSConfiguration><CORSRule><ID>i</ID><AllowedOrigin>http://*.example.org</AllowedOrigin><AllowedMethod>GET"
    b"</AllowedMethod><AllowedHeader>*</AllowedHeader><MaxAgeSeconds>5</MaxAgeSeconds><ExposeHeader>ETag"
    b"</ExposeHeader></CORSRule></CORSConfiguration>",
    b"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
    b'<?xml version="1.0" encoding="UTF-8"?><AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList><Grant>'
    b'<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>o</ID></Grantee>'
    b"<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>",
)
_BOMB: Final = b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><Delete>&d;</Delete>'

_QUERIES: Final = (
    b"\0bucket.s3.example.org:80\n/a%2Fb//c+d",
    b"\x00127.0.0.1\n/bucket/",
    b"\1list-type=2&max-keys=10&prefix=a%20b&uploads",
    b"\1versions&encoding-type=url&continuation-token=" + listing.encode_token("a/b").encode(),
    b"\2/bucket/k%20?versionId=null",
    b"\3bytes=0-9",
    b"\3bytes=-5",
    b"\3bytes=5-",
    b'\4"etag"\nW/"a", "b"\nThu, 01 Jan 2026 00:00:00 GMT\nSunday, 06-Nov-94 08:49:37 GMT',
    b'\5"etag"\n\n',
    b"\5\n*\n",
    b"\5\n\n7",
    b"\6Sun Nov  6 08:49:37 1994",
    b'\6"etag"',
    b"\7a=b&c=%C3%BC",
)


def _of_forms() -> tuple[bytes, ...]:
    given = {"key": "a/${filename}", "a": "1", "acl": "private"}
    allowed = [{"bucket": "bucket"}, ["starts-with", "$key", ""], ["content-length-range", 0, 10], ["eq", "$a", "1"]]
    file = (
        '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\nbody\r\n'
    )
    seeds = []
    for fields in (signed(given, [*allowed, {"acl": "private"}]), given):
        parts = [
            f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
        ]
        seeds.append("".join(["multipart/form-data; boundary=B\n", *parts, file, "--B--\r\n"]).encode())
    return tuple(seeds)


def _of_policies() -> tuple[bytes, ...]:
    statements: list[dict[str, object]] = [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"},
        {
            "Sid": "s", "Effect": "Deny", "NotPrincipal": {"AWS": [KEY]}, "NotAction": ["s3:Get*", "s3:List?ucket"],
            "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/a*"],
            "Condition": {
                "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}, "Bool": {"aws:SecureTransport": True},
                "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}, "StringLike": {"s3:prefix": ["a*"]},
                "NumericLessThanIfExists": {"s3:max-keys": 10}, "Null": {"aws:username": "false"},
            },
        },
    ]  # fmt: skip
    one = {"Version": "2012-10-17", "Id": "i", "Statement": statements}
    return tuple(json.dumps(document).encode() for document in (one, {"Statement": statements[0]}))


TARGETS: Final = (
    Target("sigv4-headers", _signed_headers, _of_headers()),
    Target("sigv4-presigned", _presigned, (presign().query.encode(), presign(expires_s=604800).query.encode())),
    Target("aws-chunked", _chunked, _of_chunks()),
    Target("xml", _xml, tuple(bytes([at]) + body for at, body in enumerate((*_XML, _BOMB)))),
    Target("query", _query, _QUERIES),
    Target("form", _form, _of_forms()),
    Target("policy", _policy, _of_policies()),
)
