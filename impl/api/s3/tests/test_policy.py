"""Bucket policies against an evaluator that is written as the manual reads, and by examples of what must not be let."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.errors import MalformedPolicy
from impl.api.s3.policy import Asks, Decision, is_allowed, is_public, parse, resource_of
from impl.api.s3.policy_conditions import KEYS, Asked, context
from impl.api.s3.shapes import CannedAcl
from impl.api.s3.wildcards import matches

Json = dict[str, Any]


def naive_matches(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return naive_matches(pattern[1:], text) or bool(text and naive_matches(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and naive_matches(pattern[1:], text[1:])


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def naive_condition(name: str, key: str, wanted: list[Any], values: dict[str, str]) -> bool:
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in wanted]
    value = values.get(key.lower())
    if name == "Null":
        return (value is None) in [text == "true" for text in texts]
    if value is None:
        return "Not" in name or name.endswith("IfExists")
    match name.removesuffix("IfExists"):
        case "StringEquals":
            return value in texts
        case "StringNotEquals":
            return value not in texts
        case "StringLike":
            return any(naive_matches(text, value) for text in texts)
        case "StringNotLike":
            return not any(naive_matches(text, value) for text in texts)
        case "IpAddress":
            return any(ip_address(value) in ip_network(text) for text in texts)
        case "NotIpAddress":
            return not any(ip_address(value) in ip_network(text) for text in texts)
        case "Bool":
            return value in texts
        case "NumericLessThan":
            return any(float(value) < float(text) for text in texts)
        case "NumericGreaterThanEquals":
            return any(float(value) >= float(text) for text in texts)
        case _:
            raise AssertionError(name)


def naive_applies(statement: Json, asks: Asks) -> bool:
    who = statement["Principal"]
    names = listed(who["AWS"]) if isinstance(who, dict) else [who]
    if "*" not in names and not any(name in asks.names for name in names):
        return False
    patterns = listed(statement.get("Action") or statement["NotAction"])
    is_named = any(naive_matches(pattern.lower(), asks.action.lower()) for pattern in patterns)
    if is_named != ("Action" in statement):
        return False
    patterns = listed(statement.get("Resource") or statement["NotResource"])
    if any(naive_matches(pattern, asks.resource) for pattern in patterns) != ("Resource" in statement):
        return False
    return all(
        naive_condition(name, key, listed(wanted), dict(asks.context))
        for name, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def naive_decide(document: Json, asks: Asks) -> Decision:
    effects = [one["Effect"] for one in listed(document["Statement"]) if naive_applies(one, asks)]
    if "Deny" in effects:
        return Decision.DENY
    return Decision.ALLOW if effects else Decision.SILENT


def one_or_some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, min_size=1, max_size=3)


NAMES = st.sampled_from(["*", "alice", "bob"])
ACTIONS = st.sampled_from(["s3:*", "*", "s3:GetObject", "s3:Get*", "s3:ListBucket", "s3:Put?bject", "S3:getobject*"])
RESOURCES = st.sampled_from(["b", "b/*", "b/a*", "b*", "b/?", "b/a/[x]", "*", "b/*/x"]).map("arn:aws:s3:::{}".format)
ADDRESSES = st.sampled_from(["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"])
PATTERNS = st.sampled_from(["a", "a*", "*", "", "?", "b/"])
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]), PATTERNS).map(
        lambda pair: {pair[0]: {"s3:prefix": pair[1]}}
    ),
    st.tuples(st.sampled_from(["IpAddress", "NotIpAddress"]), one_or_some(ADDRESSES)).map(
        lambda pair: {pair[0]: {"aws:SourceIp": pair[1]}}
    ),
    st.tuples(st.sampled_from(["NumericLessThan", "NumericGreaterThanEqualsIfExists"]), st.integers(0, 20)).map(
        lambda pair: {pair[0]: {"s3:max-keys": pair[1]}}
    ),
    st.sampled_from([True, False, "true", "false"]).map(lambda value: {"Bool": {"aws:SecureTransport": value}}),
    st.sampled_from([True, False]).map(lambda value: {"Null": {"s3:prefix": value}}),
    st.just({"StringEqualsIfExists": {"s3:prefix": ["a", ""]}, "StringLike": {"aws:UserAgent": "curl/*"}}),
    st.just({}),
)


@st.composite
def statements(draw: st.DrawFn) -> Json:
    who = draw(st.just("*") | one_or_some(NAMES).map(lambda names: {"AWS": names}))
    return {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        "Principal": who,
        draw(st.sampled_from(["Action", "Action", "NotAction"])): draw(one_or_some(ACTIONS)),
        draw(st.sampled_from(["Resource", "Resource", "NotResource"])): draw(one_or_some(RESOURCES)),
        "Condition": draw(CONDITIONS),
    }


POLICIES = st.lists(statements(), min_size=1, max_size=4).map(lambda some: {"Version": "2012-10-17", "Statement": some})
CONTEXTS = st.fixed_dictionaries(
    {
        "aws:sourceip": st.sampled_from(["10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1"]),
        "aws:securetransport": st.sampled_from(["true", "false"]),
    },
    optional={
        "s3:prefix": st.sampled_from(["a", "ab", "", "b/"]),
        "s3:max-keys": st.sampled_from(["0", "5", "20"]),
        "aws:useragent": st.sampled_from(["curl/8", "wget"]),
    },
)
ASKS = st.builds(
    Asks,
    action=st.sampled_from(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:ListBucket", "s3:DeleteBucket"]),
    resource=st.sampled_from([None, "a", "ab", "a/[x]", "a/x", "c"]).map(lambda key: resource_of("b", key)),
    names=st.sampled_from([frozenset[str](), frozenset({"alice"}), frozenset({"bob", "AKIDBOB"}), frozenset({"eve"})]),
    context=CONTEXTS,
)


def policy_of(document: Json) -> Any:
    return parse(json.dumps(document).encode(), "b")


@given(POLICIES, st.lists(ASKS, min_size=1, max_size=5))
def test_a_policy_decides_as_the_manual_reads(document: Json, some: list[Asks]) -> None:
    try:
        policy = policy_of(document)
    except MalformedPolicy as refused:
        assert "does not apply to any resource" in str(refused)
        return
    for asks in some:
        assert policy.decide(asks) is naive_decide(document, asks)


@given(st.text("ab*?[]!-\n", max_size=8), st.text("ab[]!-\n", max_size=8))
def test_patterns_match_as_a_recursion_says(pattern: str, text: str) -> None:
    assert matches(pattern, text) == naive_matches(pattern, text)


def test_no_pattern_takes_for_ever() -> None:
    assert not matches("*a" * 500 + "b", "a" * 1024)


def statement(**members: Any) -> Json:
    plain = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    return {name: value for name, value in (plain | members).items() if value is not None}


def document_of(*some: Json, **members: Any) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": list(some)} | members).encode()


def asks(action: str = "s3:GetObject", key: str | None = "k", *names: str, **said: str) -> Asks:
    return Asks(action, resource_of("b", key), frozenset(names), {key.replace("_", ":"): v for key, v in said.items()})


def allowed(document: bytes | None, asked: Asks, is_owner: bool = False, acl: CannedAcl = CannedAcl.PRIVATE) -> bool:
    return is_allowed(asked, is_owner=is_owner, policy=parse(document, "b") if document else None, acl=acl)


DENY_ALL = document_of(statement(Effect="Deny", Action="s3:*", Resource=["arn:aws:s3:::b", "arn:aws:s3:::b/*"]))
PUBLIC = document_of(statement())


def test_nobody_but_the_owner_may_do_anything_without_a_policy() -> None:
    assert allowed(None, asks(), is_owner=True)
    assert not allowed(None, asks())
    assert not allowed(None, asks("s3:GetObject", "k", "alice"))


def test_a_denial_counts_above_a_permission_the_owner_and_the_acl() -> None:
    both = document_of(statement(), statement(Effect="Deny"))
    assert not allowed(both, asks())
    assert not allowed(both, asks(), is_owner=True)
    assert not allowed(both, asks(), acl=CannedAcl.PUBLIC_READ)


def test_no_policy_locks_its_bucket_for_ever() -> None:
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        assert allowed(DENY_ALL, asks(action, None), is_owner=True)
        assert not allowed(DENY_ALL, asks(action, None))
    assert not allowed(DENY_ALL, asks("s3:DeleteBucket", None), is_owner=True)


def test_public_read_lets_everyone_read_and_nobody_write() -> None:
    reads = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"]
    writes = ["s3:PutObject", "s3:DeleteObject", "s3:PutBucketPolicy", "s3:GetObjectAcl", "s3:PutObjectTagging"]
    assert all(allowed(None, asks(action), acl=CannedAcl.PUBLIC_READ) for action in reads)
    assert not any(allowed(None, asks(action), acl=CannedAcl.PUBLIC_READ) for action in writes)


def test_a_permission_for_one_is_none_for_others_and_none_for_the_nameless() -> None:
    document = document_of(statement(Principal={"AWS": ["alice"]}))
    assert allowed(document, asks("s3:GetObject", "k", "alice"))
    assert not allowed(document, asks("s3:GetObject", "k", "bob"))
    assert not allowed(document, asks())


def test_not_principal_means_everyone_else() -> None:
    document = document_of(statement(Effect="Deny", Principal=None, NotPrincipal={"AWS": "alice"}), statement())
    assert allowed(document, asks("s3:GetObject", "k", "alice"))
    assert not allowed(document, asks("s3:GetObject", "k", "bob"))
    assert not allowed(document, asks())


def test_a_policy_for_objects_says_nothing_of_the_bucket_and_its_siblings() -> None:
    assert parse(PUBLIC, "b").decide(asks()) is Decision.ALLOW
    assert parse(PUBLIC, "b").decide(asks("s3:GetObject", None)) is Decision.SILENT
    sibling = Asks("s3:GetObject", resource_of("bb", "k"), frozenset(), {})
    assert parse(PUBLIC, "b").decide(sibling) is Decision.SILENT


@pytest.mark.parametrize(
    "name, key, wanted, value, holds",
    [
        ("IpAddress", "aws:SourceIp", "192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("IpAddress", "aws:sourceip", "192.0.2.7/24", "192.0.2.1", True),
        ("IpAddress", "aws:SourceIp", "192.0.2.0/24", "not an address", False),
        ("NotIpAddress", "aws:SourceIp", "192.0.2.0/24", "not an address", True),
        ("NotIpAddress", "aws:SourceIp", ["10.0.0.0/8", "192.0.2.0/24"], "192.0.2.7", False),
        ("Bool", "aws:SecureTransport", "false", "false", True),
        ("Bool", "aws:SecureTransport", "True", "true", True),
        ("StringEquals", "aws:SecureTransport", True, "true", True),
        ("BoolIfExists", "aws:SecureTransport", "false", None, True),
        ("Bool", "aws:SecureTransport", "false", None, False),
        ("StringEquals", "aws:Referer", "http://a/", None, False),
        ("StringNotEquals", "aws:Referer", "http://a/", None, True),
        ("StringNotLike", "aws:Referer", "http://a/*", None, True),
        ("StringEqualsIgnoreCase", "aws:UserAgent", "CURL", "curl", True),
        ("StringNotEqualsIgnoreCase", "aws:UserAgent", "CURL", "curl", False),
        ("StringLike", "aws:Referer", "http://*.a/*", "http://x.a/y", True),
        ("NumericLessThanEquals", "s3:max-keys", 10, "10", True),
        ("NumericLessThanEquals", "s3:max-keys", "10", "9.5", True),
        ("NumericEquals", "s3:max-keys", "10", "ten", False),
        ("NumericNotEquals", "s3:max-keys", "10", "11", True),
        ("NumericGreaterThan", "s3:max-keys", "10", None, False),
        ("DateLessThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59+00:00", True),
        ("DateLessThan", "aws:CurrentTime", "2026-01-01", "2026-01-01T00:00:00+00:00", False),
        ("DateGreaterThanEquals", "aws:EpochTime", "1767225600", "1767225600", True),
        ("DateNotEquals", "aws:EpochTime", "1767225600", "1767225601", True),
        ("ArnLike", "aws:Referer", "arn:*", "arn:a", True),
        ("ArnNotEquals", "aws:Referer", "arn:a", "arn:a", False),
        ("Null", "s3:prefix", "true", None, True),
        ("Null", "s3:prefix", "false", None, False),
    ],
)
def test_conditions(name: str, key: str, wanted: Any, value: str | None, holds: bool) -> None:
    document = document_of(statement(Condition={name: {key: wanted}}))
    said = {key.lower(): value} if value is not None else {}
    assert allowed(document, Asks("s3:GetObject", resource_of("b", "k"), frozenset(), said)) is holds


def test_all_conditions_must_hold_and_one_value_of_each() -> None:
    both = {"StringEquals": {"s3:prefix": ["a", "b"], "s3:delimiter": "/"}}
    document = document_of(statement(Action="s3:ListBucket", Resource="arn:aws:s3:::b", Condition=both))
    assert allowed(document, asks("s3:ListBucket", None, s3_prefix="b", s3_delimiter="/"))
    assert not allowed(document, asks("s3:ListBucket", None, s3_prefix="c", s3_delimiter="/"))
    assert not allowed(document, asks("s3:ListBucket", None, s3_prefix="a"))


def test_a_context_fills_every_key_that_policies_may_name() -> None:
    everything = dict.fromkeys([key.rpartition(":")[2] for key in KEYS] + ["user-agent", "versionId"], "x")
    asked = Asked("192.0.2.1", True, 1767225600, everything, everything, username="alice", auth_type="POST")
    assert context(asked).keys() == KEYS
    assert context(asked)["aws:currenttime"] == "2026-01-01T00:00:00+00:00"
    nothing = context(Asked("192.0.2.1", False, 0, {}, {}))
    assert nothing.keys() == {"aws:sourceip", "aws:securetransport", "aws:currenttime", "aws:epochtime"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 20_000,
        document_of(statement(Condition={"StringEquals": {"s3:prefix": float("nan")}})),
        document_of(),
        document_of(statement(), Version="2020-01-01"),
        document_of(statement(), Comment="x"),
        document_of(statement(Effect="allow")),
        document_of(statement(Efect="Deny")),
        document_of(statement(Principal=None)),
        document_of(statement(NotPrincipal="*")),
        document_of(statement(Principal="alice")),
        document_of(statement(Principal={"AWS": []})),
        document_of(statement(Principal={"AWS": "arn:*"})),
        document_of(statement(Principal={"AWS": ""})),
        document_of(statement(Principal={"Service": "x.amazonaws.com"})),
        document_of(statement(Principal={})),
        document_of(statement(Action=None)),
        document_of(statement(Action=[])),
        document_of(statement(Action="s3:GetObjct")),
        document_of(statement(Action="s3:Frob*")),
        document_of(statement(Action="ec2:RunInstances")),
        document_of(statement(Action="s3:ListBucket")),
        document_of(statement(Resource="arn:aws:s3:::b")),
        document_of(statement(Resource="arn:aws:s3:::c/*")),
        document_of(statement(Resource="arn:aws:s3:::bb/*")),
        document_of(statement(Resource="b/*")),
        document_of(statement(Resource="*")),
        document_of(statement(Resource="arn:aws:s3:::b/" + "k" * 2048)),
        document_of(statement(Resource=None)),
        document_of(statement(Resource="arn:aws:s3:::b/${aws:username}/*")),
        document_of(statement(Condition={"StringIs": {"s3:prefix": "a"}})),
        document_of(statement(Condition={"ForAllValues:StringEquals": {"s3:prefix": "a"}})),
        document_of(statement(Condition={"StringEquals": {"s3:x-amz-unknown": "a"}})),
        document_of(statement(Condition={"StringEquals": {"s3:prefix": []}})),
        document_of(statement(Condition={"StringEquals": {"s3:prefix": None}})),
        document_of(statement(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.300"}})),
        document_of(statement(Condition={"NumericEquals": {"s3:max-keys": "many"}})),
        document_of(statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}})),
        document_of(statement(Condition={"Bool": {"aws:SecureTransport": "yes"}})),
        document_of(statement(Condition={"Null": {"s3:prefix": "maybe"}})),
        document_of(statement(Sid="s" * 20_480)),
        PUBLIC.replace(b'"Effect": "Allow"', b'"Effect": "Deny", "Effect": "Allow"'),
    ],
)
def test_what_could_not_be_kept_to_the_letter_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedPolicy):
        parse(document, "b")


def test_variables_were_text_before_there_were_any() -> None:
    document = document_of(statement(Resource="arn:aws:s3:::b/${a}"), Version="2008-10-17")
    assert parse(document, "b").decide(asks("s3:GetObject", "${a}")) is Decision.ALLOW


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["*", "Allow", "s3:*", "arn:aws:s3:::b/*", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Statement", "Effect", "Principal", "AWS", "Action", "Resource"]), inner)
    ),
    max_leaves=12,
)


@given(
    JSON
    | st.builds(
        lambda one: {"Statement": statement(**one)},
        st.dictionaries(st.sampled_from(["Effect", "Principal", "Action", "Resource", "Condition"]), JSON, max_size=2),
    )
)
def test_whatever_is_sent_is_a_policy_or_refused(document: Any) -> None:
    try:
        parse(json.dumps(document).encode(), "b")
    except MalformedPolicy as refused:
        assert refused.status == 400


@pytest.mark.parametrize(
    ("statement", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": ["alice", "*"]}}, True),
        ({"Principal": {"AWS": ["alice"]}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}}, True),
        ({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "alice"}}}, False),
        ({"Condition": {"StringLike": {"aws:username": "*"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:username": "alice"}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
    ],
)
def test_a_policy_is_public_if_it_lets_somebody_whom_it_does_not_say(statement: Json, public: bool) -> None:
    said = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    document = json.dumps({"Statement": [said | statement]}).encode()
    assert is_public(parse(document, "bucket")) is public
