"""Which parts no head names: the rule by which a node collects garbage. Pure; the doing is impl/node/gc.py.

A node deletes a part for its own sake only: what the heads of its own registers name stays, older versions too, and
what any upload names that is neither complete nor given up. It need not know what others have accepted, as nobody
relies on this node's copy of a part unless this node has accepted a head that names it (impl/node/naming.py).
"""

from collections.abc import Iterable, Iterator, Mapping

from impl.model import Head, Version
from impl.protocol.rules import HONEST, Rules


def named_by(head: Head, rules: Rules = HONEST) -> Iterator[Version]:
    """The versions of a head that have parts, all of which the head names."""
    for version in head.versions[-1:] if rules.collect_older_versions else head.versions:
        if version.parts:
            yield version


def named_by_uploads(registers: Iterable[Head], rules: Rules = HONEST) -> set[str]:
    """The digests that uploads name which are not over; their registers say no slot, so wherever such a part lies."""
    if rules.collect_uploading:
        return set()
    return {ref.digest for head in registers for version in head.versions for ref in version.parts}


def grace_is_over(
    unused_since_s: Mapping[tuple[int, str], float], now_s: float, grace_s: float, rules: Rules = HONEST
) -> list[tuple[int, str]]:
    """Of parts that were seen unused without a break since then, those that have been so for `grace_s`; in order.

    `grace_s` is above 0, so that what is seen so for the first time now has to wait for a later look.
    """
    wait_s = 0.0 if rules.collect_without_grace else grace_s
    return sorted(part for part, since_s in unused_since_s.items() if now_s - since_s >= wait_s)
