"""Which promise is broken on purpose. In every honest node, none is.

`tracegen mutants` measures the checks with these: each field is one deliberate bug, honoured only by a node started
with --allow-mutants. Each is asked about at one place, where the rule it breaks is applied, so that the mutant is the
smallest change of the real code. `MUTANTS` says of each where that is, and what nobody may rely on any more.
"""

from typing import Annotated, Final, get_type_hints

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    """A deliberate bug: the module that has it, and the promise that it breaks."""

    where: str
    breaks: str


_ACCEPTOR: Final = "impl/protocol/acceptor.py"
_COLLECTING: Final = "impl/protocol/collecting.py"
_CHANGE: Final = "impl/protocol/change.py"
_PROPOSER: Final = "impl/protocol/proposer.py"
_COORDINATOR: Final = "impl/node/coordinator.py"
_HEALER: Final = "impl/node/healer.py"
_COLLECTOR: Final = "impl/node/collector.py"
_REPLICA: Final = "impl/node/replica.py"
_REJOINING: Final = "impl/protocol/rejoining.py"
_LISTER: Final = "impl/node/lister.py"
_NODE: Final = "impl/node/node.py"
_UPLOADS: Final = "impl/node/uploads.py"
_NAMING: Final = "impl/node/naming.py"
_COLLECTION: Final = "impl/protocol/collection.py"
_REGISTERS: Final = "impl/storage/registers.py"
_COMMITS: Final = "impl/storage/commits.py"
_WORKERS: Final = "impl/storage/workers.py"
_PARTS: Final = "impl/storage/parts.py"
_TIERING: Final = "impl/protocol/tiering.py"
_SHIPPER: Final = "impl/node/shipper.py"
_NATIVE: Final = "impl/api/native.py"
_S3: Final = "impl/api/s3/objects.py"


class Rules(msgspec.Struct, frozen=True):
    """The broken rules; each name is that of the mutant, with dashes as underscores."""

    # acceptors
    accept_below_promise: Annotated[bool, Mutant(_ACCEPTOR, "nothing below a promise is accepted")] = False
    promise_lower: Annotated[bool, Mutant(_ACCEPTOR, "a promise is never taken back for a lower ballot")] = False
    promise_forgets_accepted: Annotated[bool, Mutant(_ACCEPTOR, "a promise keeps what was accepted")] = False
    claim_not_virgin: Annotated[bool, Mutant(_ACCEPTOR, "a claim is made where nothing was ever promised")] = False
    adopt_below_promise: Annotated[bool, Mutant(_ACCEPTOR, "a repair keeps promises")] = False
    # healing
    heal_by_wall_clock: Annotated[bool, Mutant(_HEALER, "a repair takes the higher ballot, whatever clocks say")] = (
        False
    )
    collect_tombstone_early: Annotated[bool, Mutant(_COLLECTOR, "every replica is asked before one forgets")] = False
    collect_unsettled_tombstone: Annotated[
        bool, Mutant(_COLLECTING, "who forgets a deletion knows that nothing older can reach the archive")
    ] = False
    floor_not_kept: Annotated[bool, Mutant(_COLLECTING, "what is forgotten leaves its promise")] = False
    vote_after_disk_loss: Annotated[
        bool, Mutant(_REPLICA, "who lost its disk does not vote before it has caught up")
    ] = False
    rejoin_from_one: Annotated[bool, Mutant(_REJOINING, "as many others are asked as share one with each quorum")] = (
        False
    )
    # what a change makes of a head
    ignore_if_none_match: Annotated[bool, Mutant(_CHANGE, "what exists is not created a second time")] = False
    ignore_write_id: Annotated[bool, Mutant(_CHANGE, "a write id takes effect once")] = False
    reuse_generation: Annotated[bool, Mutant(_CHANGE, "each change has a generation of its own")] = False
    generation_skips: Annotated[bool, Mutant(_CHANGE, "generations follow each other without a hole")] = False
    recent_writes_too_short: Annotated[bool, Mutant(_CHANGE, "a head remembers its last 16 writes")] = False
    condition_before_write_id: Annotated[bool, Mutant(_CHANGE, "a retried conditional write finds its success")] = False
    refused_but_written: Annotated[bool, Mutant(_CHANGE, "a refused write changes nothing")] = False
    delete_ignores_if_match: Annotated[bool, Mutant(_CHANGE, "a delete obeys its precondition")] = False
    delete_of_deleted_applies: Annotated[bool, Mutant(_CHANGE, "a delete of what is deleted changes nothing")] = False
    tombstone_forgets_generation: Annotated[bool, Mutant(_CHANGE, "generations go on after a delete")] = False
    version_not_kept: Annotated[bool, Mutant(_CHANGE, "a version is kept until it is deleted by its id")] = False
    newest_version_deleted: Annotated[bool, Mutant(_CHANGE, "a delete of a version removes that one")] = False
    null_version_kept: Annotated[bool, Mutant(_CHANGE, "there is one null version")] = False
    # coordinators
    quorum_of_one: Annotated[bool, Mutant(_COORDINATOR, "a quorum is asked")] = False
    ack_before_quorum: Annotated[bool, Mutant(_COORDINATOR, "an answered write is on a write quorum")] = False
    promises_one_short: Annotated[bool, Mutant(_COORDINATOR, "a read quorum promises before a proposal")] = False
    retry_new_write_id: Annotated[bool, Mutant(_COORDINATOR, "a node's own retry is the same write")] = False
    unknown_called_failed: Annotated[bool, Mutant(_COORDINATOR, "a failed write was certainly not made")] = False
    lowest_head: Annotated[bool, Mutant(_PROPOSER, "a proposal goes on from the highest accepted head")] = False
    lease_of_old_head: Annotated[bool, Mutant(_PROPOSER, "a lease goes on from the head it was won with")] = False
    stale_local_read: Annotated[bool, Mutant(_PROPOSER, "a read is not older than an earlier answer")] = False
    read_quorum_one_short: Annotated[bool, Mutant(_PROPOSER, "a read is agreed on by a quorum")] = False
    ballot_not_advanced: Annotated[bool, Mutant("impl/node/rounds.py", "a ballot is used once")] = False
    rounds_not_reserved: Annotated[bool, Mutant("impl/node/rounds.py", "a ballot is used once, over restarts")] = False
    # storage
    forget_promise_on_restart: Annotated[bool, Mutant(_REGISTERS, "promises outlive the process")] = False
    ack_before_commit: Annotated[bool, Mutant(_COMMITS, "a step is durable before it is answered")] = False
    cache_not_updated: Annotated[bool, Mutant(_REGISTERS, "what was written is what is read")] = False
    oldest_of_group_wins: Annotated[bool, Mutant(_WORKERS, "the last state of a group is the durable one")] = False
    skip_fsync: Annotated[bool, Mutant(_REGISTERS, "a commit outlives a power cut")] = False
    part_not_fsynced: Annotated[bool, Mutant(_PARTS, "a stored part outlives a power cut")] = False
    part_unverified: Annotated[bool, Mutant(_PARTS, "bytes that have rotted are never served")] = False
    collect_reused_part: Annotated[bool, Mutant(_PARTS, "a part that is used again is not collected")] = False
    collect_older_versions: Annotated[bool, Mutant(_COLLECTION, "parts of older versions are not collected")] = False
    collect_uploading: Annotated[bool, Mutant(_COLLECTION, "parts of running uploads are not collected")] = False
    collect_without_grace: Annotated[bool, Mutant(_COLLECTION, "parts are collected after a grace time")] = False
    # the archive
    ship_old_over_new: Annotated[bool, Mutant(_TIERING, "nothing older takes the place of what is archived")] = False
    confirm_before_shipped: Annotated[bool, Mutant(_SHIPPER, "what is on record as archived is")] = False
    evict_before_confirm: Annotated[bool, Mutant(_TIERING, "only what the archive has goes from the disk")] = False
    evict_unsettled: Annotated[bool, Mutant(_TIERING, "nothing goes while something older is under way")] = False
    ack_write_through_early: Annotated[bool, Mutant(_SHIPPER, "write-through is answered when it is archived")] = False
    # bodies, lists, answers
    head_before_parts: Annotated[bool, Mutant(_UPLOADS, "a head names only parts that are stored")] = False
    parts_of_one: Annotated[bool, Mutant(_UPLOADS, "a part is on a write quorum before a head names it")] = False
    accept_without_parts: Annotated[bool, Mutant(_NAMING, "a replica has the parts of what it accepts")] = False
    list_of_one: Annotated[bool, Mutant(_LISTER, "a list asks a quorum of each replica set")] = False
    list_skips_unsettled: Annotated[bool, Mutant(_LISTER, "a list has the paths that replicas disagree on")] = False
    list_misses_tail: Annotated[bool, Mutant(_LISTER, "the pages of a list have every path")] = False
    replay_tells_newest: Annotated[bool, Mutant(_NODE, "a retry is answered as the first time")] = False
    etag_of_previous: Annotated[bool, Mutant(_NODE, "a write is answered with its own etag")] = False
    tombstone_not_found: Annotated[bool, Mutant(_NATIVE, "what is deleted is told from what never was")] = False
    swap_304_and_412: Annotated[bool, Mutant(_NATIVE, "304 and 412 mean what RFC 9110 says")] = False
    range_off_by_one: Annotated[bool, Mutant(_NATIVE, "a range has the bytes that were asked for")] = False
    version_ignored: Annotated[bool, Mutant(_S3, "a version that is named is the one that is read")] = False


HONEST: Final = Rules()


def _registry() -> dict[str, Mutant]:
    hints = get_type_hints(Rules, include_extras=True)
    return {name.replace("_", "-"): hint.__metadata__[0] for name, hint in hints.items()}


MUTANTS: Final = _registry()
"""The mutants by name, in the order of the fields."""


def broken(mutants: tuple[str, ...]) -> Rules:
    """The rules with the named mutants switched on; the names are among MUTANTS (the configuration checks them)."""
    return Rules(**{name.replace("-", "_"): True for name in mutants})
