"""Bucket names, keys, and where a request says them: in the path, in the Host header, in a copy's source. Pure.

Keys are any UTF-8, taken as they come: `//`, `.` and `..` mean nothing, and nothing is normalised.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from impl.api.s3.errors import InvalidArgument, InvalidBucketName, InvalidURI, KeyTooLongError

KEY_BYTES_MAX: Final = 1024

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_BUCKET: Final = re.compile(rf"(?=.{{3,63}}\Z){_LABEL}(?:\.{_LABEL})*")
_RESERVED_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_PORT: Final = re.compile(r":[0-9]*\Z")


class Target(msgspec.Struct, frozen=True):
    """What a request is about: all buckets (`bucket` is None), a bucket (`key` is None), or an object."""

    bucket: str | None = None
    key: str | None = None


class CopySource(msgspec.Struct, frozen=True):
    """The object to copy, and which of its versions (None: the current one)."""

    bucket: str
    key: str
    version_id: str | None = None


def check_bucket_name(name: str) -> str:
    """The name, if S3 would let a general purpose bucket have it; every such name is a host name, too.

    Raises InvalidBucketName.
    """
    if not _BUCKET.fullmatch(name):
        raise InvalidBucketName(
            f"The specified bucket is not valid: {name[:80]!r}. Use 3 to 63 lower-case letters, digits, hyphens and "
            "dots; each label between dots begins and ends with a letter or digit.",
            BucketName=name[:255],
        )
    if name.startswith(_RESERVED_STARTS) or name.endswith(_RESERVED_ENDS):
        raise InvalidBucketName(
            f"The specified bucket is not valid: {name!r} begins or ends as only names that S3 reserves do.",
            BucketName=name,
        )
    if _is_ipv4(name):
        raise InvalidBucketName(f"The specified bucket is not valid: {name!r} reads as an IP address.", BucketName=name)
    return name


def _is_ipv4(name: str) -> bool:
    try:
        IPv4Address(name)
    except AddressValueError:
        return False
    return True


def check_key(key: str) -> str:
    """The key, if it has 1 to 1024 bytes of UTF-8. Raises KeyTooLongError, or InvalidURI for none at all."""
    size_bytes = len(key.encode())
    if size_bytes > KEY_BYTES_MAX:
        raise KeyTooLongError(Size=size_bytes, MaxSizeAllowed=KEY_BYTES_MAX)
    if not key:
        raise InvalidURI("The key is empty; give it at least one character.")
    return key


def decode_path(encoded: str) -> str:
    """A path, or a piece of one, without its percent encoding; `encoded` has one character a byte.

    A `+` is a space here, in paths as in queries. RFC 3986 says otherwise, but S3 does it, and every client writes
    `%2B` for that reason. Raises InvalidURI for a broken escape and for bytes that are not UTF-8.
    """
    if "%" not in encoded and "+" not in encoded and encoded.isascii():
        return encoded
    if _BAD_ESCAPE.search(encoded):
        raise InvalidURI(f"Couldn't parse the specified URI: {encoded[:200]!r} has a % without two hex digits.")
    try:
        return unquote_to_bytes(encoded.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:
        raise InvalidURI(f"Couldn't parse the specified URI: {encoded[:200]!r} is not UTF-8.") from None


def target(host: str, path: str, host_suffixes: Iterable[str]) -> Target:
    """What a request is about, from its Host header and its path (undecoded, as it was sent, without the query).

    A host that is `<bucket>.<suffix>` names the bucket, and the whole path after its first `/` is the key; else the
    first segment of the path does. Raises InvalidURI, InvalidBucketName and KeyTooLongError.
    """
    if not path.startswith("/"):
        raise InvalidURI(f"Couldn't parse the specified URI: {path[:200]!r} does not begin with a slash.")
    bucket = bucket_of_host(host, host_suffixes)
    if bucket is None:
        encoded, _, rest = path[1:].partition("/")
        if not encoded:
            if rest:
                raise InvalidBucketName("The specified bucket is not valid: it is empty.", BucketName="")
            return Target()
        bucket = decode_path(encoded)
    else:
        rest = path[1:]
    check_bucket_name(bucket)
    return Target(bucket, check_key(decode_path(rest)) if rest else None)


def bucket_of_host(host: str, host_suffixes: Iterable[str]) -> str | None:
    """The bucket that a Host header names, None if it names none: another host, or just a suffix.

    `host_suffixes` are lower-case host names without port and leading dot; of several that fit, the longest counts.
    """
    name = _PORT.sub("", host).lower().removesuffix(".")
    fitting = [suffix for suffix in host_suffixes if name == suffix or name.endswith("." + suffix)]
    if not fitting:
        return None
    return name[: -len(max(fitting, key=len)) - 1] or None


def copy_source(header: str) -> CopySource:
    """What `x-amz-copy-source` names: `bucket/key`, with or without a leading slash, `?versionId=` at its end.

    `header` has one character a byte. Raises InvalidArgument, InvalidBucketName and KeyTooLongError.
    """
    path, has_version, version = header.partition("?versionId=")
    try:
        bucket, _, key = decode_path(path).removeprefix("/").partition("/")
        version_id = decode_path(version) if has_version else None
    except InvalidURI as error:
        raise _bad_source(header, str(error)) from None
    if not bucket or not key:
        raise _bad_source(header, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    if bucket.startswith("arn:"):
        raise _bad_source(header, "Access points are not offered; name the source as sourcebucket/sourcekey")
    return CopySource(check_bucket_name(bucket), check_key(key), version_id or None)


def _bad_source(header: str, text: str) -> InvalidArgument:
    return InvalidArgument(text, ArgumentName="x-amz-copy-source", ArgumentValue=header[:1024])
