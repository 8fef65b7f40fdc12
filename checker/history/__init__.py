"""Judges clients' histories: is each path linearizable, as a register whose every write makes one generation?

Because answers carry generations, this is a sort and no search. Let e(g) be the instant at which generation g took
effect. Whoever was told g had returned after e(g); whoever was told less than g had been invoked before it; so was the
write that made it. There are such instants, in order, if and only if for each g

    the latest invoke of all who were told less than g, and of the writes that made g and what is below it
    is not after
    the earliest return of all who were told g or more.

Each generation is made by one write. Who made one is known from its answer; where the answer was lost, from the body
that readers saw; where nobody saw it, some write whose outcome is unknown must be left over for it. Beside that: a
generation has one content, a write id makes one generation, and preconditions hold on the generation before, or, for
a refusal, fail on some generation that may have been current while it was being decided.

A delete of what is already deleted answers with the tombstone it found, so a tombstone may have several claimants. The
delete of a version may have made the generation that it was told, or have found the version gone there.

A version is named by the generation that made it, and so it is there from then on until a delete of it took effect;
what is said of versions at generations is held against that (versions.py). A list that tells no generations must show
of each path what was there at some moment while the list was made (lists.py).

A tombstone that the traces say was forgotten leaves no generation behind, and those that were left out then need no
maker (forgetting.py).

The rooms: generations.py collects what is known, makers.py says who made what, order.py holds the inequality,
preconditions.py, versions.py and lists.py what follows from it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from checker.history import lists, makers, preconditions, versions
from checker.history.forgetting import NOTHING, Forgotten, forgotten, understood
from checker.history.generations import Known
from checker.history.order import Order
from checker.operations import Operation, read_operations
from checker.verdict import HistoryFault

FAULTS_A_PATH_MAX: Final = 8
LIST_PAGE: Final = 1000
"""A list this long may have ended before the last path."""


def check(run: Path) -> list[HistoryFault]:
    """Judge a run's history.ndjson; an empty list says that every path is linearizable. Raises CannotCheck."""
    return check_operations(read_operations(run), forgotten(run))


def check_operations(
    operations: Iterable[Operation], forgot: Mapping[str, Forgotten] = MappingProxyType({})
) -> list[HistoryFault]:
    """Judge operations in any order; `forgot` says of which paths tombstones were forgotten."""
    by_path: defaultdict[str, list[Operation]] = defaultdict(list)
    with_generations: list[Operation] = []
    without: list[Operation] = []
    for operation in operations:
        if operation.kind == "list_versions" or operation.listed is not None:
            without.append(operation)
        elif operation.kind == "list":
            with_generations.append(operation)
        else:
            by_path[operation.path].append(operation)
    copies = [each for own in by_path.values() for each in own if each.kind == "copy" and each.outcome == "ok"]
    for source in {copy.source for copy in copies if copy.source is not None}:
        by_path.setdefault(source, [])
    listed = _by_path(with_generations, by_path)
    written = frozenset(each.sha256 for own in by_path.values() for each in own if each.kind == "put" and each.sha256)
    judged = {}
    for path in sorted(by_path.keys() | listed.keys() | lists.paths_in(without)):
        own, own_lists, known = by_path.get(path, []), listed.get(path, []), forgot.get(path, NOTHING)
        if known.tombstones:
            own, own_lists = understood(own, own_lists, known)
        judged[path] = _judged(Known(path, own, own_lists, written, known))
    lists.check(judged, without)
    lists.check_copies(judged, copies)
    faults: list[HistoryFault] = []
    for order in judged.values():
        versions.check(order)
        faults += order.known.faults[:FAULTS_A_PATH_MAX]
    return faults


def _judged(known: Known) -> Order:
    """Apply the rules that are about one path, and are answered by its own operations."""
    makers.settle(known)
    order = Order(known)
    order.check()
    makers.check_unmade(order)
    preconditions.check(order)
    return order


def _by_path(lists: Sequence[Operation], written: Iterable[str]) -> dict[str, list[tuple[int, Operation]]]:
    """What each list says of each path: its generation, or 0 if the list should have it and does not."""
    paths = sorted(set(written).union(path for each in lists for path, _ in each.paths or ()), key=str.encode)
    keys = [path.encode() for path in paths]
    says: dict[str, list[tuple[int, Operation]]] = {path: [] for path in paths}
    for each in lists:
        if each.outcome != "ok" or each.paths is None:
            continue
        there = dict(each.paths)
        first, end = bisect_left(keys, each.path.encode()), len(paths)
        if len(each.paths) >= LIST_PAGE:
            end = bisect_right(keys, each.paths[-1][0].encode())
        for path in paths[first:end]:
            if not path.startswith(each.path):
                break
            says[path].append((there.get(path, 0), each))
    return {path: said for path, said in says.items() if said}
