"""The rule of `asker.py`, sentence by sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.api.s3.actions import ON_BUCKETS, ON_OBJECTS, OWNERS_ALWAYS, PUBLIC_READS
from impl.api.s3.asker import Asker
from impl.api.s3.bucket import Bucket, Documents
from impl.api.s3.credentials import ANONYMOUS, Identity, canonical_user_id
from impl.api.s3.policy_conditions import Asked
from impl.api.s3.shapes import CannedAcl

ALICE = Identity("AKIAALICE", "alice")
NAMESAKE = Identity("AKIAOTHER", "alice")
BOB = Identity("AKIABOB", "bob")
ROOT = Identity("AKIAROOT", "root", root=True)
EVERYBODY = (ALICE, NAMESAKE, BOB, ROOT, ANONYMOUS)
DENY_ALL = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}

actions = st.sampled_from(sorted(ON_BUCKETS | ON_OBJECTS))
identities = st.sampled_from(EVERYBODY)


def asker(
    identity: Identity,
    owner: str = "AKIAALICE",
    policy: str = "",
    acl: CannedAcl = CannedAcl.PRIVATE,
    all_: bool = False,
) -> Asker:
    bucket = Bucket("b", 0, owner, "us-east-1", acl=acl, documents=Documents(policy=policy))
    return Asker(identity, bucket, Asked("192.0.2.1", False, 0, {}, {}), may_all=all_)


def key_for(action: str) -> str | None:
    return "k" if action in ON_OBJECTS else None


@given(actions, identities)
def test_who_may_all_may_all_whatever_a_policy_says(action: str, identity: Identity) -> None:
    assert asker(identity, policy=json.dumps({"Statement": DENY_ALL}), all_=True).may(action, key_for(action))


@given(actions, identities)
def test_without_policy_and_acl_a_bucket_is_its_makers_alone(action: str, identity: Identity) -> None:
    assert asker(identity).may(action, key_for(action)) == (identity is ALICE)


@given(actions, identities)
def test_what_nobody_made_belongs_to_nobody(action: str, identity: Identity) -> None:
    assert not asker(identity, owner="").may(action, key_for(action))


@given(actions, identities)
def test_a_denial_leaves_the_owner_the_policy_itself(action: str, identity: Identity) -> None:
    allowed = asker(identity, policy=json.dumps({"Statement": DENY_ALL})).may(action, key_for(action))
    assert allowed == (identity is ALICE and action in OWNERS_ALWAYS)


@pytest.mark.parametrize("action", sorted(OWNERS_ALWAYS))
def test_a_policy_that_can_no_longer_be_read_can_be_replaced(action: str) -> None:
    assert asker(ALICE, policy="no policy").may(action)


@given(actions)
def test_public_read_opens_reading_and_nothing_else(action: str) -> None:
    stranger = asker(BOB, acl=CannedAcl.PUBLIC_READ)
    if action in ON_BUCKETS:
        assert stranger.may(action) == (action in PUBLIC_READS)
    else:
        assert not stranger.may(action, "k")
        assert stranger.may_if_public(action, "k") == (action in PUBLIC_READS)


@pytest.mark.parametrize("principal", ["AKIABOB", "bob", "arn:aws:iam:::user/bob", canonical_user_id("AKIABOB")])
def test_a_key_has_these_names_in_a_policy(principal: str) -> None:
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
    }
    allowed = [
        one
        for one in EVERYBODY
        if asker(one, owner="", policy=json.dumps({"Statement": allow})).may("s3:GetObject", "k")
    ]
    assert allowed == [BOB]


@given(st.sampled_from(["v1", "v2", None]))
def test_a_condition_sees_the_version_that_is_asked_for(version: str | None) -> None:
    allow = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObjectVersion", "Resource": "arn:aws:s3:::b/*",
        "Condition": {"StringEquals": {"s3:VersionId": "v1"}},
    }  # fmt: skip
    stranger = asker(BOB, policy=json.dumps({"Statement": allow}))
    assert stranger.may("s3:DeleteObjectVersion", "k", version) == (version == "v1")
