"""Uploads by a browser's form: real nodes, boto3's signed forms, urllib3's multipart/form-data."""

# ruff: noqa: F811 - fixtures are imported, and asked for by name

import http.client
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from urllib3.filepost import encode_multipart_formdata

from integration.cluster import Reply, running
from integration.s3_cluster import S3Nodes, cluster
from integration.s3_fixtures import LARGE, bucket, everywhere, nodes, s3  # noqa: F401
from integration.test_memory import PEAK_MIB, peak_mib


def post(nodes: S3Nodes, bucket: str, fields: Mapping[str, str], file: bytes, name: str = "a file.txt") -> Reply:
    """What a browser does with a form."""
    body, content_type = encode_multipart_formdata([*fields.items(), ("file", (name, file, "text/x-any"))])
    return nodes.ask(nodes.names[-1], "POST", f"/{bucket}", body, {"Content-Type": content_type})


def signed(
    nodes: S3Nodes,
    bucket: str,
    key: str = "k",
    fields: Mapping[str, str] | None = None,
    *conditions: object,
    by: str = "AKIAALICE",
) -> dict[str, str]:
    """The fields of a form that its maker lets upload a key with these other fields."""
    s3 = nodes.client(key=by, signature_version="s3v4")
    given = dict(fields or {})
    exact = [{name: value} for name, value in given.items()]
    form = s3.generate_presigned_post(bucket, key, Fields=given, Conditions=[*exact, *conditions])
    assert isinstance(form["fields"], dict)
    return form["fields"]


def code(reply: Reply) -> str:
    return str(ET.fromstring(reply.body).findtext("Code"))


@pytest.mark.parametrize("size", [0, 5, 64 * 1024 + 1, len(LARGE)])
def test_a_signed_form_uploads_its_file(nodes: S3Nodes, s3: Any, bucket: str, size: int) -> None:
    fields = {
        "Content-Type": "text/x-test",
        "Cache-Control": "no-cache",
        "x-amz-meta-one": "größe",
        "x-amz-storage-class": "STANDARD_IA",
        "acl": "public-read",
    }
    reply = post(
        nodes, bucket, signed(nodes, bucket, "dir/${filename}", fields), LARGE[:size], "C:\\some where\\a+b.txt"
    )
    assert reply.status == 204 and reply.body == b""
    for client in everywhere(nodes):
        got = client.get_object(Bucket=bucket, Key="dir/a+b.txt")
        assert got["Body"].read() == LARGE[:size] and got["ETag"] == reply.headers["etag"]
        assert (got["ContentType"], got["CacheControl"], got["StorageClass"]) == (
            "text/x-test",
            "no-cache",
            "STANDARD_IA",
        )
        assert got["Metadata"]["one"].encode("latin-1").decode() == "größe"
    assert nodes.ask("n1", "GET", f"/{bucket}/dir/a%2Bb.txt").status == 200
    assert reply.headers["location"].endswith(f"/{bucket}/dir/a%2Bb.txt")


def test_a_form_is_answered_as_it_asks(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    for asked, status in (("200", 200), ("201", 201), ("204", 204), ("500", 204), ("", 204)):
        reply = post(nodes, bucket, signed(nodes, bucket, "k", {"success_action_status": asked}), b"x")
        assert reply.status == status
    reply = post(nodes, bucket, signed(nodes, bucket, "a b", {"success_action_status": "201"}), b"x")
    document = ET.fromstring(reply.body)
    assert [document.findtext(name) for name in ("Bucket", "Key")] == [bucket, "a b"]
    assert document.findtext("Location") == reply.headers["location"] and reply.headers["location"].endswith("/a%20b")
    for name in ("success_action_redirect", "redirect"):
        reply = post(nodes, bucket, signed(nodes, bucket, "a b", {name: "https://example.org/done?n=1#there"}), b"x")
        etag = reply.headers["etag"].replace('"', "%22")
        assert reply.status == 303
        assert reply.headers["location"] == f"https://example.org/done?n=1&bucket={bucket}&key=a%20b&etag={etag}#there"
    for url in ("javascript:alert(1)", "/here", "https://", "https://[", "https://ex ample/\u00e9"):
        assert post(nodes, bucket, signed(nodes, bucket, "k", {"success_action_redirect": url}), b"x").status == 204


def test_a_form_may_do_only_what_its_policy_says(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    form = signed(nodes, bucket, "k", None, ["content-length-range", 3, 100_000])
    for size, said in ((2, "EntityTooSmall"), (100_001, "EntityTooLarge"), (len(LARGE), "EntityTooLarge")):
        reply = post(nodes, bucket, form, LARGE[:size])
        assert (reply.status, code(reply)) == (400, said)
    for changed, said in (
        ({"key": "other"}, "AccessDenied"),
        ({"x-amz-meta-more": "x"}, "AccessDenied"),
        ({"acl": "public-read"}, "AccessDenied"),
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"policy": form["policy"][:-8] + "AAAAAAA="}, "SignatureDoesNotMatch"),
    ):
        reply = post(nodes, bucket, form | changed, b"xxxx")
        assert (reply.status, code(reply)) == (403, said), changed
    elsewhere = signed(nodes, f"{bucket}-other", "k")
    assert code(post(nodes, bucket, elsewhere, b"x")) == "AccessDenied"
    assert post(nodes, bucket, {}, b"x").status == 400
    assert code(plain(nodes, bucket)) == "RequestIsNotMultiPartContent"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert post(nodes, bucket, form, b"xxx").status == 204


def plain(nodes: S3Nodes, bucket: str) -> Reply:
    return nodes.ask("n1", "POST", f"/{bucket}", b"x", {"Content-Type": "text/plain"})


def test_a_form_cannot_smuggle_headers(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    for name, value in (("x-amz-meta-a", "1\r\nX-Evil: 1"), ("x-amz-meta-a b: c", "1"), ("expires", "\x00")):
        reply = post(nodes, bucket, signed(nodes, bucket, "k", {name: value}), b"x")
        assert (reply.status, code(reply)) == (400, "InvalidArgument")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_form_does_not_pass_for_a_copy(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    copying = {"x-amz-copy-source": f"{bucket}/secret"}
    assert post(nodes, bucket, signed(nodes, bucket, "k", copying), b"x").status == 204
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    allow_copies(s3, bucket)
    assert code(post(nodes, bucket, {"key": "k", **copying}, b"x")) == "AccessDenied"


def allow_copies(s3: Any, bucket: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringLike": {"s3:x-amz-copy-source": "*"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))


def test_a_file_that_is_too_large_is_refused_before_it_is_all_there(nodes: S3Nodes, bucket: str) -> None:
    form = signed(nodes, bucket, "k", None, ["content-length-range", 0, 100_000])
    body, content_type = encode_multipart_formdata([*form.items(), ("file", ("f", bytes(300_000), "text/x"))])
    connection = http.client.HTTPConnection("127.0.0.1", nodes.ports["n1"], timeout=15)
    connection.putrequest("POST", f"/{bucket}")
    connection.putheader("Content-Type", content_type)
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders(body)
    assert code(Reply(400, {}, connection.getresponse().read())) == "EntityTooLarge"
    connection.close()


def test_a_form_without_signature_may_do_what_anybody_may(nodes: S3Nodes, s3: Any, bucket: str) -> None:
    assert code(post(nodes, bucket, {"key": "in/k"}, b"x")) == "AccessDenied"
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/in/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))
    assert post(nodes, bucket, {"key": "in/k"}, b"by nobody").status == 204
    assert code(post(nodes, bucket, {"key": "in/k", "acl": "public-read"}, b"x")) == "AccessDenied"
    assert code(post(nodes, bucket, {"key": "out/k"}, b"x")) == "AccessDenied"
    assert s3.get_object(Bucket=bucket, Key="in/k")["Body"].read() == b"by nobody"
    assert code(post(nodes, bucket, signed(nodes, bucket, "out/k", by="AKIABOB"), b"x")) == "AccessDenied"
    assert post(nodes, bucket, signed(nodes, bucket, "in/bob", by="AKIABOB"), b"x").status == 204
    assert code(post(nodes, "never-made", {"key": "k"}, b"x")) == "NoSuchBucket"


def test_a_large_form_goes_through_a_node_of_little_memory(tmp_path: Path) -> None:
    piece, count = bytes(range(256)) * 4096, 256
    with running(cluster(tmp_path, 1)) as node:
        assert isinstance(node, S3Nodes)
        node.client().create_bucket(Bucket="large")
        body, content_type = encode_multipart_formdata([*signed(node, "large").items(), ("file", ("f", b"", "text/x"))])
        ahead, end = split(body)
        pieces = itertools.chain([ahead], itertools.repeat(piece, count), [end])
        length = len(ahead) + len(piece) * count + len(end)
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        assert node.ask("n1", "POST", "/large", pieces, headers, timeout_s=120).status == 204
        assert node.client().head_object(Bucket="large", Key="k")["ContentLength"] == len(piece) * count
        assert peak_mib(node.pid("n1")) < PEAK_MIB


def split(form: bytes) -> tuple[bytes, bytes]:
    """What of a form comes before its file, which is empty, and what after."""
    end = form.rindex(b"\r\n--")
    return form[:end], form[end:]
