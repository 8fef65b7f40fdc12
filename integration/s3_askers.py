"""Those who ask for things in the tests of access: the bucket's owner, another key, nobody; and policies for them."""

import json
from typing import Any

import botocore
import botocore.exceptions

from integration.s3_cluster import S3Nodes


def who(nodes: S3Nodes, name: str) -> Any:
    """A client of somebody; each at another node, where there are several."""
    node = nodes.names[("owner", "other", "nobody").index(name) % len(nodes.names)]
    match name:
        case "owner":
            return nodes.client(node)
        case "other":
            return nodes.client(node, "AKIABOB")
    return nodes.client(node, signature_version=botocore.UNSIGNED)


def outcome(act: Any, **asked: Any) -> str:
    """The error's code, or ok."""
    try:
        act(**asked)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def policy_of(bucket: str, statements: list[dict[str, Any]]) -> str:
    def resource(after: str) -> str:
        return f"arn:aws:s3:::{bucket}{after}"

    said = []
    for statement in statements:
        after = statement["Resource"]
        said.append(statement | {"Resource": [resource(one) for one in ([after] if isinstance(after, str) else after)]})
    return json.dumps({"Version": "2012-10-17", "Statement": said})
