"""Bad input to real nodes: each gets a clear error with the right code, and nothing acknowledged is lost."""

import hashlib
import hmac
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from impl.model import slot_of
from integration.cluster import BLOBS, SECRET, Nodes, Reply, blob, running


@pytest.fixture(scope="module", params=[(), ("--no-direct-path",)], ids=["direct", "tornado"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(Nodes(tmp_path_factory.mktemp("bad-input"), 1, options=request.param)) as nodes:
        assert nodes.put("n1", "kept", b"kept").status == 201
        yield nodes
        assert nodes.get("n1", "kept").body == b"kept"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/a/../b", "'.' or '..' segment"),
        ("/a/./b", "'.' or '..' segment"),
        ("/a%00b", "control character"),
        ("/" + "a" * 1025, "1025 bytes; at most 1024"),
        ("/%ff", "UTF-8"),
        ("/%2F", "empty"),
    ],
)
def test_a_path_that_cannot_name_an_object_is_refused(nodes: Nodes, target: str, says: str) -> None:
    for method in ("PUT", "GET", "DELETE"):
        reply = nodes.ask("n1", method, BLOBS + target, b"x" if method == "PUT" else None)
        assert (reply.status, reply.code) == (400, "InvalidPath")
        assert says in reply.json["error"]["message"]


def test_a_path_of_1024_bytes_is_still_one(nodes: Nodes) -> None:
    assert nodes.put("n1", "é" * 512, b"x").status == 201


def raw(nodes: Nodes, sent: bytes, *, close: bool = False) -> bytes:
    """What comes back for these bytes, until the node closes or says no more."""
    with socket.create_connection(("127.0.0.1", nodes.ports["n1"]), timeout=10) as connection:
        connection.sendall(sent)
        if close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_headers_over_their_bound_are_refused(nodes: Nodes) -> None:
    answer = raw(nodes, b"GET /_/api/v1/healthz HTTP/1.1\r\nHost: x\r\nx-long: " + b"a" * 40_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"HeaderTooLarge" in answer


def test_what_is_no_http_is_told_so(nodes: Nodes) -> None:
    assert raw(nodes, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("size_bytes", [100, 1_000_000, 20_000_000])
def test_a_body_cut_short_writes_nothing(nodes: Nodes, size_bytes: int) -> None:
    head = f"PUT {blob('cut')} HTTP/1.1\r\nHost: x\r\nContent-Length: {size_bytes}\r\n\r\n".encode()
    raw(nodes, head + b"x" * (size_bytes // 2), close=True)
    time.sleep(0.1)
    assert nodes.get("n1", "cut").status == 404


def signed(nodes: Nodes, method: str, target: str, body: bytes, secret: str = SECRET) -> Reply:
    """A request to the internal API with its proof, made here from its documentation."""
    now_ms, digest = str(time.time_ns() // 1_000_000), hashlib.sha256(body).hexdigest()
    text = "\n".join((method, target, now_ms, digest)).encode()
    headers = {
        "x-amberio-time": now_ms,
        "x-amberio-content-sha256": digest,
        "x-amberio-proof": hmac.new(secret.encode(), text, hashlib.sha256).hexdigest(),
    }
    return nodes.ask("n1", method, target, body, headers)


def test_the_internal_api_wants_the_clusters_secret(nodes: Nodes) -> None:
    target = f"/internal/v1/slots/{slot_of('kept')}/heads/kept"
    assert nodes.ask("n1", "GET", target).status == 403
    assert signed(nodes, "GET", target, b"", "another-secret").status == 403
    record = signed(nodes, "GET", target, b"")
    assert (record.status, record.json["generation"], record.json["kind"]) == (200, 1, "meta")


def test_a_part_that_does_not_match_its_digest_is_refused(nodes: Nodes) -> None:
    body = b"a part"
    wrong = hashlib.sha256(b"another").hexdigest()
    refused = signed(nodes, "PUT", f"/internal/v1/slots/3/parts/{wrong}", body)
    assert (refused.status, refused.code) == (400, "BadDigest")
    right = hashlib.sha256(body).hexdigest()
    assert signed(nodes, "PUT", f"/internal/v1/slots/3/parts/{right}", body).status == 201
    assert signed(nodes, "PUT", f"/internal/v1/slots/3/parts/{right}", body).json["reused"] is True
    assert signed(nodes, "GET", f"/internal/v1/slots/3/parts/{right}", b"").body == body


def start(nodes: Nodes, node: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "impl.server", "--config", str(nodes.config(node)), "--node", node]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 1)
    with socket.create_server(("127.0.0.1", nodes.ports["n1"])):
        ended = start(nodes, "n1")
    assert ended.returncode == 2
    assert f"127.0.0.1:{nodes.ports['n1']} is in use" in ended.stderr


def test_a_data_directory_in_use_is_named_with_its_process(nodes: Nodes, tmp_path: Path) -> None:
    second = Nodes(tmp_path, 1, disks={"n1": nodes.disk("n1")})
    ended = start(second, "n1")
    assert ended.returncode == 2
    assert f"process {nodes.pid('n1')} uses this data directory" in ended.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(directory)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.decode().strip()}")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_refuses_writes_and_keeps_everything_it_acknowledged(tmp_path: Path, small_disk: Path) -> None:
    with running(Nodes(tmp_path, 1, disks={"n1": small_disk / "data"}, limits={"request_s": 2.0})) as nodes:
        acknowledged = {}
        body = os.urandom(60_000)
        refused = None
        for number in range(1000):
            reply = nodes.put("n1", f"full/{number}", body)
            if reply.status != 201:
                refused = reply
                break
            acknowledged[f"full/{number}"] = body
        assert refused is not None and (refused.status, refused.code) == (507, "DiskFull")
        assert "full" in refused.json["error"]["message"]
        large = nodes.put("n1", "large", os.urandom(16 * 1024 * 1024))
        assert (large.status, large.code) == (507, "DiskFull")
        for path, expected in acknowledged.items():
            assert nodes.get("n1", path).body == expected
        nodes.kill("n1")
        nodes.start("n1")
        for path, expected in acknowledged.items():
            assert nodes.get("n1", path).body == expected
