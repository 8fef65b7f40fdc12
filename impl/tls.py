"""The certificate and key that the node shows to clients who speak TLS, from the files that the configuration names."""

import ssl
import stat
from pathlib import Path

import msgspec

from impl.errors import ConfigError


class TlsSettings(msgspec.Struct, frozen=True):
    """PEM files: the certificate, followed by those that lead to a root which clients know, and its private key."""

    certificate_file: Path
    key_file: Path


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 or above with this certificate. Raises ConfigError, which names the file and what is wrong with it."""
    certificate, key = settings.certificate_file, settings.key_file
    _check(certificate, "tls.certificate_file", b"-----BEGIN CERTIFICATE-----", "a certificate")
    _check(key, "tls.key_file", b" PRIVATE KEY-----", "a private key")
    if mode := stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise ConfigError(
            f"tls.key_file is {key}: others can read it (mode {mode:03o} beyond its owner's); chmod 600 it"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # else an encrypted key asks at the terminal
    except ssl.SSLError as error:
        raise ConfigError(_fault(settings, error)) from None
    return context


def _check(file: Path, name: str, mark: bytes, kind: str) -> None:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} is {file}: cannot be read: {error.strerror}; give the path of a PEM file") from None
    if mark not in text:
        raise ConfigError(f"{name} is {file}: {kind} is not in it; give a PEM file with one")


def _fault(settings: TlsSettings, error: ssl.SSLError) -> str:
    certificate, key = settings.certificate_file, settings.key_file
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"tls.key_file is {key}: it is not the key of the first certificate in {certificate}; give the key that "
            "this certificate was made with, and put the node's own certificate first"
        )
    if b"ENCRYPTED" in key.read_bytes():
        return f"tls.key_file is {key}: it is encrypted; decrypt it (openssl pkey -in {key.name} -out plain.key)"
    return f"tls.certificate_file is {certificate}, tls.key_file {key}: one is not valid PEM: {error.reason or error}"
