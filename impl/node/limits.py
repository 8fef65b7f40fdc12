"""The bounds and times of one request inside the node; the configuration may change the times."""

import msgspec

PATH_WAITERS_MAX = 256
"""Requests that may wait for their turn on one path, before the next one is told to slow down."""
LEASES_MAX = 16_384
LEASE_BYTES_MAX = 32 * 1024 * 1024
"""How many paths keep a fast path, and how many bytes of inline bodies these hold."""
ROUNDS_BLOCK = 100_000
"""Ballot rounds reserved durably at a time: one fsync for that many proposals."""
PARTS_IN_FLIGHT_MAX = 2
"""Parts of one upload that may be on their way to replicas at once: bounds its memory to about three parts."""
PARTS_WRITTEN_MAX = 16
PARTS_READ_MAX = 16
"""Parts of all uploads, and of all downloads, in memory at once: 128 MiB each."""


class Timing(msgspec.Struct, frozen=True):
    """How long to wait, in seconds. An attempt waits `step_s` for each quorum, a request `request_s` in all."""

    request_s: float = 5.0
    step_s: float = 1.5
    part_s: float = 20.0
    backoff_first_s: float = 0.004
    backoff_most_s: float = 0.2
