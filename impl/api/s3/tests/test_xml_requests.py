"""The XML of requests: what botocore writes is read, and whatever strangers write is read or refused, never more."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3 import xml, xml_requests
from impl.api.s3.checksums import Algorithm, checksum_of
from impl.api.s3.errors import (
    AccessControlListNotSupported,
    BadRequest,
    IllegalVersioningConfigurationException,
    InvalidPartOrder,
    InvalidRequest,
    InvalidTag,
    MalformedACLError,
    MalformedXML,
    MaxMessageLengthExceeded,
    NotImplementedByS3,
    S3Error,
)
from impl.api.s3.shapes import CannedAcl, CompletePart, CorsRule, CreateBucket, DeleteRequest, DeleteTarget, Owner, Tag
from impl.api.s3.tests.botocore_rig import XML_TEXT, serialised

READERS: list[Callable[[bytes], Any]] = [
    xml_requests.complete_multipart_upload,
    xml_requests.delete,
    xml_requests.versioning_configuration,
    lambda body: xml_requests.tagging(body, 10),
    xml_requests.cors_configuration,
    xml_requests.create_bucket_configuration,
    xml_requests.access_control_policy,
]
# botocore writes \r as it is, which every XML parser reads as \n
WRITTEN = XML_TEXT.map(lambda text: text.replace("\r", ""))
ETAGS = st.from_regex("[0-9a-f]{32}(-[0-9]+)?", fullmatch=True)
NAMES = st.text("aé1 +-=._:/@", min_size=1, max_size=20)


@given(
    st.sets(st.integers(1, 10_000), min_size=1, max_size=20), ETAGS, st.none() | st.sampled_from(Algorithm), st.data()
)
def test_parts_to_complete_are_read(
    numbers: set[int], etag: str, algorithm: Algorithm | None, data: st.DataObject
) -> None:
    checksum = checksum_of(algorithm, b"part") if algorithm else None
    said = {f"Checksum{algorithm}": checksum.value} if checksum else {}
    quoted = data.draw(st.booleans())
    parts = [{"PartNumber": n, "ETag": f'"{etag}"' if quoted else etag, **said} for n in sorted(numbers)]
    body = serialised("CompleteMultipartUpload", Bucket="b", Key="k", UploadId="u", MultipartUpload={"Parts": parts})
    expected = tuple(CompletePart(number, etag, checksum) for number in sorted(numbers))
    assert xml_requests.complete_multipart_upload(body) == expected


@given(
    st.lists(
        st.builds(
            DeleteTarget,
            key=WRITTEN.filter(bool),
            version_id=st.none() | NAMES.map(str.strip).filter(bool),
            etag=st.none() | ETAGS,
            size_bytes=st.none() | st.integers(0, 2**40),
            modified_at_s=st.none() | st.integers(0, 2**32),
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_what_to_delete_is_read(targets: list[DeleteTarget], quiet: bool) -> None:
    objects = []
    for target in targets:
        moment = None if target.modified_at_s is None else datetime.fromtimestamp(target.modified_at_s, UTC)
        members = {
            "VersionId": target.version_id,
            "ETag": target.etag,
            "Size": target.size_bytes,
            "LastModifiedTime": moment,
        }
        objects.append({"Key": target.key} | {name: value for name, value in members.items() if value is not None})
    body = serialised("DeleteObjects", Bucket="b", Delete={"Objects": objects, "Quiet": quiet})
    assert xml_requests.delete(body) == DeleteRequest(tuple(targets), quiet)


@given(st.dictionaries(NAMES, NAMES | st.just(""), max_size=10))
def test_tags_are_read(tags: dict[str, str]) -> None:
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    body = serialised("PutObjectTagging", Bucket="b", Key="k", Tagging={"TagSet": tag_set})
    assert xml_requests.tagging(body, 10) == tuple(Tag(key, value) for key, value in tags.items())


WORDS = st.lists(st.text("abc*-./:", min_size=1, max_size=9), min_size=1, max_size=3).map(tuple)
CORS_RULES = st.lists(
    st.builds(
        CorsRule,
        allowed_origins=WORDS,
        allowed_methods=WORDS,
        allowed_headers=WORDS | st.just(()),
        expose_headers=WORDS | st.just(()),
        max_age_s=st.none() | st.integers(0, 2**31),
        id=st.none() | WRITTEN,
    ),
    min_size=1,
    max_size=4,
)


@given(CORS_RULES)
def test_cors_rules_are_read(rules: list[CorsRule]) -> None:
    said = []
    for rule in rules:
        members: dict[str, Any] = {
            "ID": rule.id,
            "AllowedOrigins": rule.allowed_origins,
            "AllowedMethods": rule.allowed_methods,
            "AllowedHeaders": rule.allowed_headers or None,
            "ExposeHeaders": rule.expose_headers or None,
            "MaxAgeSeconds": rule.max_age_s,
        }
        said.append({name: value for name, value in members.items() if value is not None})
    body = serialised("PutBucketCors", Bucket="b", CORSConfiguration={"CORSRules": said})
    assert xml_requests.cors_configuration(body) == tuple(rules)
    assert xml_requests.cors_configuration(xml.cors_configuration(rules)) == tuple(rules)


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_versioning_is_read(status: str) -> None:
    body = serialised("PutBucketVersioning", Bucket="b", VersioningConfiguration={"Status": status})
    assert xml_requests.versioning_configuration(body) == status


def test_where_to_create_a_bucket_is_read() -> None:
    said = {"LocationConstraint": "eu-west-1", "Tags": [{"Key": "a", "Value": "b"}]}
    body = serialised("CreateBucket", Bucket="b", CreateBucketConfiguration=said)
    assert xml_requests.create_bucket_configuration(body) == CreateBucket("eu-west-1", (Tag("a", "b"),))
    assert xml_requests.create_bucket_configuration(b" \n") == CreateBucket()


@pytest.mark.parametrize("acl", CannedAcl)
def test_grants_that_say_what_a_canned_acl_says_are_that_acl(acl: CannedAcl) -> None:
    assert xml_requests.access_control_policy(xml.access_control_policy(Owner("me", "Me"), acl)) is acl


@pytest.mark.parametrize(
    "grantee, permission",
    [
        ({"Type": "CanonicalUser", "ID": "you"}, "READ"),
        ({"Type": "Group", "URI": xml.ALL_USERS}, "WRITE"),
        ({"Type": "AmazonCustomerByEmail", "EmailAddress": "you@example.com"}, "FULL_CONTROL"),
    ],
)
def test_other_grants_are_refused(grantee: dict[str, str], permission: str) -> None:
    said = {"Owner": {"ID": "me"}, "Grants": [{"Grantee": grantee, "Permission": permission}]}
    with pytest.raises(AccessControlListNotSupported):
        xml_requests.access_control_policy(serialised("PutBucketAcl", Bucket="b", AccessControlPolicy=said))


PART = "<Part><PartNumber>%s</PartNumber><ETag>e</ETag></Part>"
BOMB = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'
TAG_SET = "<Tagging><TagSet>%s</TagSet></Tagging>"


def tag(key: str, value: str = "v") -> str:
    return f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>"


@pytest.mark.parametrize(
    "read, text, error",
    [
        (0, "", MalformedXML),
        (0, "<CompleteMultipartUpload/>", MalformedXML),
        (0, "<Delete/>", MalformedXML),
        (0, f"<CompleteMultipartUpload>{PART % 2}{PART % 1}</CompleteMultipartUpload>", InvalidPartOrder),
        (0, f"<CompleteMultipartUpload>{PART % 2}{PART % 2}</CompleteMultipartUpload>", InvalidPartOrder),
        (0, f"<CompleteMultipartUpload>{PART % 0}</CompleteMultipartUpload>", MalformedXML),
        (0, f"<CompleteMultipartUpload>{PART % 10001}</CompleteMultipartUpload>", MalformedXML),
        (0, f"<CompleteMultipartUpload>{PART % '1.5'}</CompleteMultipartUpload>", MalformedXML),
        (0, f"<CompleteMultipartUpload>{PART % '<b/>'}</CompleteMultipartUpload>", MalformedXML),
        (0, f"<CompleteMultipartUpload>x{PART % 1}</CompleteMultipartUpload>", MalformedXML),
        (0, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>", MalformedXML),
        (
            0,
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumMD4>eA==</ChecksumMD4>"
            "</Part></CompleteMultipartUpload>",
            MalformedXML,
        ),
        (
            0,
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>AAAA</ChecksumCRC32>"
            "</Part></CompleteMultipartUpload>",
            InvalidRequest,
        ),
        (
            0,
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
            "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part></CompleteMultipartUpload>",
            MalformedXML,
        ),
        (1, BOMB, MalformedXML),
        (1, '<!DOCTYPE d SYSTEM "file:///etc/passwd"><Delete/>', MalformedXML),
        (1, "<Delete><Object><Key>a</Key></Object>", MalformedXML),
        (1, "<Delete><Object><Key></Key></Object></Delete>", MalformedXML),
        (1, "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", MalformedXML),
        (1, "<Delete><Object><Key>a</Key><If>b</If></Object></Delete>", MalformedXML),
        (1, "<Delete><Object><Key>&#1;</Key></Object></Delete>", MalformedXML),
        (1, "<Delete><Object><Key>a</Key></Object><Quiet>perhaps</Quiet></Delete>", MalformedXML),
        (1, f"<Delete>{'<Object><Key>a</Key></Object>' * 1001}</Delete>", MalformedXML),
        (1, "<Delete><Object><Key>a</Key><LastModifiedTime>9</LastModifiedTime></Object></Delete>", MalformedXML),
        (2, "<VersioningConfiguration/>", IllegalVersioningConfigurationException),
        (2, "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", MalformedXML),
        (2, "<VersioningConfiguration><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", NotImplementedByS3),
        (3, "<Tagging/>", MalformedXML),
        (3, TAG_SET % "<Tag><Key>a</Key></Tag>", MalformedXML),
        (3, TAG_SET % (tag("a") + tag("a")), InvalidTag),
        (3, TAG_SET % tag("aws:a"), InvalidTag),
        (3, TAG_SET % tag(""), InvalidTag),
        (3, TAG_SET % tag("a" * 129), InvalidTag),
        (3, TAG_SET % tag("a", "v" * 257), InvalidTag),
        (3, TAG_SET % tag("a<"), InvalidTag),
        (3, TAG_SET % tag("a", "v;"), InvalidTag),
        (3, TAG_SET % "".join(tag(str(place)) for place in range(11)), BadRequest),
        (4, "<CORSConfiguration/>", MalformedXML),
        (4, f"<CORSConfiguration>{'<CORSRule/>' * 101}</CORSConfiguration>", MalformedXML),
        (
            4,
            "<CORSConfiguration><CORSRule><MaxAgeSeconds>-1</MaxAgeSeconds></CORSRule></CORSConfiguration>",
            MalformedXML,
        ),
        (5, "<CreateBucketConfiguration><Bucket/></CreateBucketConfiguration>", NotImplementedByS3),
        (5, "<Create/>", MalformedXML),
        (6, "<AccessControlPolicy/>", MalformedACLError),
        (6, "<AccessControlPolicy", MalformedACLError),
    ],
)
def test_what_does_not_make_sense_is_refused(read: int, text: str, error: type[S3Error]) -> None:
    with pytest.raises(error):
        READERS[read](text.encode())


@pytest.mark.parametrize("read", READERS)
def test_more_elements_than_make_sense_are_not_built(read: Callable[[bytes], Any]) -> None:
    with pytest.raises((MalformedXML, MalformedACLError)) as refused:
        read(b"<a>" + b"<b>" * {0: 170_000, 1: 20_000}.get(READERS.index(read), 10_000))
    assert "elements" in str(refused.value)


@pytest.mark.parametrize("read", READERS)
def test_what_is_too_large_is_refused_before_it_is_built(read: Callable[[bytes], Any]) -> None:
    with pytest.raises(MaxMessageLengthExceeded):
        read(b"<a>" + b" " * xml_requests.COMPLETE_BYTES_MAX + b"</a>")


def test_a_body_is_unicode_whatever_it_says_of_itself() -> None:
    text = "<Delete><Object><Key>é</Key></Object></Delete>"
    claim = '<?xml version="1.0" encoding="ISO-8859-1"?>'
    assert xml_requests.delete((claim + text).encode()).objects[0].key == "é"
    for refused in ((claim + text).encode("latin-1"), text.encode("cp037")):
        with pytest.raises(MalformedXML):
            xml_requests.delete(refused)


def test_namespaces_comments_and_white_space_around_elements_do_not_matter() -> None:
    body = (
        b'<a:Delete xmlns:a="http://doc.s3.amazonaws.com/2006-03-01">\n <!-- two --> <a:Object>\n'
        b"  <a:Key> a<!-- b -->c </a:Key><a:VersionId> v </a:VersionId></a:Object>\n</a:Delete>"
    )
    assert xml_requests.delete(body) == DeleteRequest((DeleteTarget(" ac ", "v"),))


VALID = [
    f"<CompleteMultipartUpload>{PART % 1}{PART % 2}</CompleteMultipartUpload>",
    "<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>v</VersionId></Object></Delete>",
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    TAG_SET % tag("a"),
    "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
    "<CreateBucketConfiguration><LocationConstraint>x</LocationConstraint></CreateBucketConfiguration>",
    xml.access_control_policy(Owner("me"), CannedAcl.PUBLIC_READ).decode(),
]
PIECES = st.sampled_from(
    ["<", ">", "/", "&", ";", "&#0;", "<Key>", "</Key>", "<!--", "]]>", "<![CDATA[", "\x00", "é", "9"]
)


@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), PIECES), max_size=4))
def test_whatever_is_sent_is_read_or_refused(text: str, edits: list[tuple[int, int, str]]) -> None:
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    for read in READERS:
        try:
            read(text.encode())
        except S3Error as refused:
            assert refused.status in (400, 501)


@given(st.binary(max_size=100))
def test_whatever_bytes_are_sent_are_read_or_refused(body: bytes) -> None:
    for read in READERS:
        try:
            read(body)
        except S3Error as refused:
            assert refused.status in (400, 501)
