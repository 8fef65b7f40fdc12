"""Clients of S3 that are slow, or that ask before they send: what they get from a real node, byte by byte."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from impl.api.http.connection import LINGER_S
from integration.cluster import running
from integration.s3_cluster import S3Nodes, cluster
from integration.s3_fixtures import LARGE

OPTIONS = {"direct": (), "tornado": ("--no-direct-path",)}
LIMITS = {"body_stall_s": 1.0, "header_s": 1.0, "write_stall_s": 1.0}
WAIT_S = 20.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(scope="module", params=OPTIONS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Nodes]:
    settings = {"simple_keys": True}
    directory = tmp_path_factory.mktemp(request.param)
    with running(cluster(directory, 1, *OPTIONS[request.param], s3=settings, limits=LIMITS)) as started:
        assert isinstance(started, S3Nodes)
        started.client().create_bucket(Bucket="bucket")
        yield started


def connected(nodes: S3Nodes) -> Any:
    return closing(socket.create_connection(("127.0.0.1", nodes.ports["n1"]), timeout=WAIT_S))


def head(method: str, target: str, *headers: str, secret: str = "alice-secret-0123456789") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: h", "x-access-key: AKIAALICE", f"x-secret-key: {secret}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def reply(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    told, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in told.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65536)
    return told, body


def ends(client: socket.socket) -> bytes:
    """What comes until the node closes, or cuts, the connection."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("size_bytes", [100, 200_000], ids=["small", "large"])
def test_an_upload_that_stalls_gets_request_timeout_and_writes_nothing(nodes: S3Nodes, size_bytes: int) -> None:
    with connected(nodes) as client:
        client.sendall(head("PUT", "/bucket/stalled", f"Content-Length: {size_bytes}") + bytes(size_bytes - 1))
        told, body = reply(client)
        assert told.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in told
        assert b"<Code>RequestTimeout</Code>" in body
        assert ends(client) == b""
    assert "Contents" not in nodes.client().list_objects_v2(Bucket="bucket", Prefix="stalled")


def test_an_upload_that_trickles_gets_request_timeout(nodes: S3Nodes) -> None:
    with connected(nodes) as client:
        client.sendall(head("PUT", "/bucket/trickled", "Content-Length: 200000"))
        client.settimeout(0.3)
        received = b""
        for _ in range(100):  # a byte each 0.3 s, until there is an answer: never a second without one
            try:
                received = client.recv(65536)
                break
            except TimeoutError:
                client.sendall(b"x")
        assert received.startswith(b"HTTP/1.1 400 ") and b"<Code>RequestTimeout</Code>" in received


def test_a_reader_that_does_not_read_is_cut_off(nodes: S3Nodes) -> None:
    nodes.client().put_object(Bucket="bucket", Key="unread", Body=LARGE * 4)
    with connected(nodes) as client:
        client.sendall(head("GET", "/bucket/unread"))
        client.recv(1)
        while b"amberio_http_connections 1.0" not in nodes.ask("n1", "GET", "/_metrics").body:
            pass  # what scrapes is the one connection that is left
        assert len(ends(client)) < 4 * len(LARGE)


def test_who_waits_for_100_continue_gets_it_only_if_the_body_is_wanted(nodes: S3Nodes) -> None:
    body = bytes(1000)
    asking = ("Expect: 100-continue", f"Content-Length: {len(body)}")
    with connected(nodes) as client:
        client.sendall(head("PUT", "/bucket/expected", *asking))
        assert client.recv(65536) == CONTINUE
        client.sendall(body)
        assert reply(client)[0].startswith(b"HTTP/1.1 200 ")
        client.sendall(head("GET", "/bucket/expected"))
        assert reply(client)[1] == body


@pytest.mark.parametrize(
    ("target", "headers", "secret", "refusal"),
    [
        ("/bucket/k", (), "wrong-secret-0123456789", "AccessDenied"),
        ("/no-such-bucket/k", (), None, "NoSuchBucket"),
        ("/bucket/k", ("If-None-Match: etag",), None, "NotImplemented"),
        ("/bucket/k", ("Content-MD5: x",), None, "InvalidDigest"),
        ("/bucket/k?notification", (), None, "NotImplemented"),
        ("/bucket/" + "k" * 1025, (), None, "KeyTooLongError"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_who_waits_for_100_continue_is_refused_before_it_sends(
    nodes: S3Nodes, target: str, headers: tuple[str, ...], secret: str | None, refusal: str
) -> None:
    asking = ("Expect: 100-continue", "Content-Length: 1000000", *headers)
    with connected(nodes) as client:
        client.sendall(head("PUT", target, *asking, **({"secret": secret} if secret else {})))
        told, body = reply(client)
        assert told.startswith(b"HTTP/1.1 4") or told.startswith(b"HTTP/1.1 501 ")
        assert f"<Code>{refusal}</Code>".encode() in body
        assert b"Connection: close" in told, "whether the body still comes is not known"
        assert ends(client) == b""


def test_after_an_error_a_small_body_is_passed_over_and_the_connection_goes_on(nodes: S3Nodes) -> None:
    with connected(nodes) as client:
        for _ in range(3):
            client.sendall(head("PUT", "/no-such-bucket/k", "Content-Length: 60000") + bytes(60000))
            told, body = reply(client)
            assert b"<Code>NoSuchBucket</Code>" in body and b"Connection: close" not in told
        client.sendall(head("PUT", "/bucket/after", "Content-Length: 1") + b"x")
        assert reply(client)[0].startswith(b"HTTP/1.1 200 ")


def test_after_an_error_a_large_body_ends_the_connection(nodes: S3Nodes) -> None:
    with connected(nodes) as client:
        client.sendall(head("PUT", "/no-such-bucket/k", "Content-Length: 100000000") + bytes(100_000))
        told, body = reply(client)
        assert b"<Code>NoSuchBucket</Code>" in body and b"Connection: close" in told
        assert ends(client) == b"", f"without another byte of it, after {LINGER_S:.0f} s"
