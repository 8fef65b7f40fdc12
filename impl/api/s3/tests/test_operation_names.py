"""Every operation that is served has a name, one that boto3 has too."""

import boto3.session

from impl.api.s3.access import ACTIONS
from impl.api.s3.operation_names import NAMES, name_of


def test_every_operation_has_a_name_of_its_own() -> None:
    assert NAMES.keys() == ACTIONS.keys()
    assert len(set(NAMES.values())) == len(NAMES)


def test_the_names_are_those_of_boto3() -> None:
    client = boto3.session.Session().client("s3", region_name="us-east-1")
    forms = {"post_object"}  # browsers send those, SDKs do not
    assert {name for name in NAMES.values() if not hasattr(client, name)} == forms


def test_a_put_with_a_source_is_a_copy() -> None:
    copied = {b"x-amz-copy-source": b"a/b"}
    assert name_of(("PUT", "object", ""), copied) == "s3_copy_object"
    assert name_of(("PUT", "object", "uploadId"), copied) == "s3_upload_part_copy"
    assert name_of(("GET", "object", ""), copied) == "s3_get_object"
