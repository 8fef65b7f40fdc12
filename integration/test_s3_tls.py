"""S3 by TLS: boto3 with a certificate authority of its own, on the same node that serves others without."""

import ipaddress
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3.session
import botocore.config
import botocore.exceptions
import pytest
from boto3.s3.transfer import TransferConfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from impl.errors import ConfigError
from impl.tls import TlsSettings, server_context
from integration.cluster import free_ports, running
from integration.s3_cluster import KEYS, S3Nodes
from integration.s3_fixtures import LARGE

LIMITS = {"write_stall_s": 3.0, "idle_s": 10.0}
OPTIONS = {"direct": (), "tornado": ("--no-direct-path",)}


@dataclass
class TlsNodes(S3Nodes):
    """One node, with TLS at another port; `files` are its certificate and key."""

    tls_port: int = 0
    files: dict[str, str] = field(default_factory=dict)

    def sections(self) -> dict[str, object]:
        node = {
            "node_id": "n1",
            "bind_addr": f"127.0.0.1:{self.ports['n1']}",
            "tls_bind_addr": f"127.0.0.1:{self.tls_port}",
            "disks": [{"path": str(self.disk("n1"))}],
        }
        return {**super().sections(), "initial_cluster": {"nodes": [node]}, "tls": self.files}

    def by_tls(self, verify: str) -> Any:
        """A boto3 client that trusts what `verify` holds."""
        config = botocore.config.Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, signature_version="s3v4"
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=f"https://127.0.0.1:{self.tls_port}",
            aws_access_key_id="AKIAALICE",
            aws_secret_access_key=KEYS["AKIAALICE"],
            region_name="us-east-1",
            verify=verify,
            config=config,
        )


def certificate(directory: Path, name: str, password: bytes | None = None) -> dict[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    files = {"certificate_file": directory / f"{name}.pem", "key_file": directory / f"{name}.key"}
    files["certificate_file"].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    files["key_file"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    files["key_file"].chmod(0o600)
    return {kind: str(file) for kind, file in files.items()}


@pytest.fixture(scope="module", params=OPTIONS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsNodes]:
    directory = tmp_path_factory.mktemp(request.param)
    files = certificate(directory, "own")
    (port,) = free_ports(1)
    with running(
        TlsNodes(directory, 1, options=OPTIONS[request.param], tls_port=port, files=files, limits=LIMITS)
    ) as started:
        assert isinstance(started, TlsNodes)
        started.client().create_bucket(Bucket="bucket")
        yield started


@pytest.fixture
def s3(nodes: TlsNodes) -> Any:
    return nodes.by_tls(nodes.files["certificate_file"])


def test_what_is_put_by_tls_is_read_by_tls_and_without(nodes: TlsNodes, s3: Any) -> None:
    for key, body in (("small", b"body"), ("large", LARGE)):
        s3.put_object(Bucket="bucket", Key=key, Body=body)
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body
        assert nodes.client().get_object(Bucket="bucket", Key=key)["Body"].read() == body


def test_the_transfer_manager_works_by_tls(s3: Any, tmp_path: Path) -> None:
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(LARGE * 2)
    config = TransferConfig(multipart_threshold=1, multipart_chunksize=5 * 1024 * 1024, max_concurrency=4)
    s3.upload_file(str(file), "bucket", "in parts", Config=config)
    s3.download_file("bucket", "in parts", str(back), Config=config)
    assert back.read_bytes() == LARGE * 2


def test_a_completed_upload_is_said_to_be_where_it_was_asked_for(s3: Any) -> None:
    named = {"Bucket": "bucket", "Key": "located"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    etag = s3.upload_part(**named, PartNumber=1, Body=b"x")["ETag"]
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert done["Location"].startswith("https://127.0.0.1:")


def test_a_presigned_url_is_read_by_tls(nodes: TlsNodes, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="presigned", Body=b"by url")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "presigned"})
    trusting = ssl.create_default_context(cafile=nodes.files["certificate_file"])
    assert url.startswith("https://")
    assert urllib.request.urlopen(url, context=trusting).read() == b"by url"


def test_who_does_not_know_the_certificate_does_not_talk(nodes: TlsNodes, tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    with pytest.raises(botocore.exceptions.SSLError):
        nodes.by_tls(other["certificate_file"]).list_buckets()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_below_1_2_is_not_spoken(nodes: TlsNodes) -> None:
    context = ssl.create_default_context(cafile=nodes.files["certificate_file"])
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", nodes.tls_port), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(plain, server_hostname="127.0.0.1"),
    ):
        pass


def test_an_error_with_an_unread_body_reaches_a_tls_client(nodes: TlsNodes) -> None:
    context = ssl.create_default_context(cafile=nodes.files["certificate_file"])
    with (
        socket.create_connection(("127.0.0.1", nodes.tls_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"PUT /bucket/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 403 ") and b"Connection: close" in answer
    assert "Traceback" not in nodes.log("n1")


def test_a_tls_client_that_does_not_read_is_cut_off(nodes: TlsNodes, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="unread", Body=LARGE * 4)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "unread"})
    host, _, target = url.removeprefix("https://").partition("/")
    context = ssl.create_default_context(cafile=nodes.files["certificate_file"])
    s3.close()
    received = 0
    with (
        socket.create_connection(("127.0.0.1", nodes.tls_port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(f"GET /{target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        while _connections(nodes) > 1:
            pass  # what asks is the one connection that is left
        try:
            while piece := client.recv(65536):
                received += len(piece)
        except (ConnectionResetError, ssl.SSLError):
            pass
    assert received < 4 * len(LARGE)


def _connections(nodes: TlsNodes) -> int:
    found = re.search(rb"^amberio_http_connections (\d+)", nodes.ask("n1", "GET", "/_metrics").body, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_nodes_do_not_meet_by_tls(nodes: TlsNodes) -> None:
    context = ssl.create_default_context(cafile=nodes.files["certificate_file"])
    with (
        socket.create_connection(("127.0.0.1", nodes.tls_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"GET /internal/v1/rpc HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: amberio\r\n\r\n")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"nodes do not meet by TLS" in answer


def test_without_tls_the_tls_port_answers_nothing(nodes: TlsNodes) -> None:
    with socket.create_connection(("127.0.0.1", nodes.tls_port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"HTTP" not in plain.recv(65536)


def _with(files: dict[str, str], **other: Path) -> dict[str, str]:
    return files | {name: str(file) for name, file in other.items()}


def test_a_certificate_that_cannot_be_used_is_a_clear_fault(tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "own"), certificate(tmp_path, "other")
    locked = certificate(tmp_path, "locked", b"password")
    open_key, text = tmp_path / "open.key", tmp_path / "text"
    open_key.write_bytes(Path(own["key_file"]).read_bytes())
    open_key.chmod(0o644)
    text.write_text("this is no certificate")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for files, fault in (
        (_with(own, certificate_file=tmp_path / "none"), "none: cannot be read: No such file"),
        (_with(own, key_file=tmp_path / "none"), "none: cannot be read: No such file"),
        (_with(own, certificate_file=text), "text: a certificate is not in it"),
        (_with(own, certificate_file=broken), "is not valid PEM"),
        (own | {"key_file": other["key_file"]}, "other.key: it is not the key of the first certificate in"),
        (locked, "locked.key: it is encrypted; decrypt it"),
        (_with(own, key_file=open_key), "open.key: others can read it (mode 044"),
    ):
        with pytest.raises(ConfigError) as refused:
            server_context(TlsSettings(Path(files["certificate_file"]), Path(files["key_file"])))
        assert fault in str(refused.value)


def test_a_node_does_not_start_with_another_ones_key(tmp_path: Path) -> None:
    files = certificate(tmp_path, "own") | {"key_file": certificate(tmp_path, "other")["key_file"]}
    nodes = TlsNodes(tmp_path / "cluster", 1, tls_port=free_ports(1)[0], files=files)
    command = [sys.executable, "-m", "impl.server", "--config", str(nodes.config("n1")), "--node", "n1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "other.key: it is not the key of the first certificate in" in ended.stderr
