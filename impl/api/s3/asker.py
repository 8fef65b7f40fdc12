"""Somebody who asks for something in a bucket, and whether they may. The rule, whole:

1. Who has a key with `root: true` may do everything, and so may everybody where the configuration says `s3.anonymous`.
2. A bucket belongs to the access key that made it, and all that is in it does too, whoever wrote it. One that was made
   by nobody known belongs to root alone. Two keys of one name are two owners.
3. What the bucket's policy denies is denied to its owner too, but for the policy itself: that an owner can always read,
   replace and delete, so that no bucket is locked for ever.
4. Owners may do what is not denied. Everybody else, known or not, may do what the policy allows; and with the ACL
   public-read on a bucket list it, with that on an object, or on one of its versions, read it.
5. Every key may make buckets, and list those that it owns.

A policy's principal means a key by its access key id, its name, `arn:aws:iam:::user/<name>` or its canonical user id.
"""

from functools import cached_property
from typing import Final

from impl.api.s3.actions import OWNERS_ALWAYS
from impl.api.s3.bucket import Bucket
from impl.api.s3.credentials import Identity, canonical_user_id
from impl.api.s3.policy import Asks, is_allowed, parse, resource_of
from impl.api.s3.policy_conditions import Asked, Context, context
from impl.api.s3.shapes import CannedAcl

_USER_ARN: Final = "arn:aws:iam:::user/"
_NOTHING_KNOWN: Final[Context] = {}


class Asker:
    """Who sent a request, before one bucket as it was read for that request. `may_all`: the first rule lets them."""

    def __init__(self, identity: Identity, bucket: Bucket, asked: Asked, may_all: bool) -> None:
        self.bucket = bucket
        self.may_all = may_all
        self._identity = identity
        self._asked = asked
        self._is_owner = not identity.anonymous and identity.access_key_id == bucket.owner

    def may(self, action: str, key: str | None = None, version_id: str | None = None) -> bool:
        """May this be done to the bucket, or to an object in it whose ACL is private, or to one of its versions?"""
        acl = self.bucket.acl if key is None else CannedAcl.PRIVATE
        return self._may(action, key, version_id, acl)

    def may_if_public(self, action: str, key: str, version_id: str | None = None) -> bool:
        """May this be done to an object or one of its versions, if the ACL of that is public-read?"""
        return self._may(action, key, version_id, CannedAcl.PUBLIC_READ)

    def _may(self, action: str, key: str | None, version_id: str | None, acl: CannedAcl) -> bool:
        if self.may_all or (self._is_owner and action in OWNERS_ALWAYS):
            return True
        bucket = self.bucket
        policy, known = None, _NOTHING_KNOWN
        if bucket.documents.policy:
            policy = parse(bucket.documents.policy.encode(), bucket.name)
            known = self._context if version_id is None else {**self._context, "s3:versionid": version_id}
        asks = Asks(action, resource_of(bucket.name, key), self._names, known)
        return is_allowed(asks, is_owner=self._is_owner, policy=policy, acl=acl)

    @cached_property
    def _context(self) -> Context:
        return context(self._asked)

    @cached_property
    def _names(self) -> frozenset[str]:
        identity = self._identity
        if identity.anonymous:
            return frozenset()
        key, name = identity.access_key_id, identity.name
        return frozenset({key, name, _USER_ARN + name, canonical_user_id(key)})
