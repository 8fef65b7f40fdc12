"""The ways in which a scenario is made smaller, each tried until it helps no more.

A pass takes a scenario that fails and returns one that does, smaller or the same. None knows why a scenario fails.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tracegen.archive.shape import NO_ARCHIVE, ArchiveShape
from tracegen.operations import WITH_BODY, Listed
from tracegen.scenario import ARCHIVE_NEMESES, ClusterShape, FaultSpec, Scenario
from tracegen.schedule import OF_LINKS
from tracegen.shrink.attempts import Attempts
from tracegen.shrink.ddmin import ddmin

SMALL_BYTES: Final = 16
GAPS_S: Final = (0.05, 0.02, 0.2)
"""Distances that a story is told with: one event after the other, each time the same."""
LEAD_S: Final = 0.05
DURATION_MIN_S: Final = 1.0
KEYS_TRIED: Final = 4
LOSES_COPIES: Final = ("bit_rot",)
"""What only a cluster with enough replicas outlives."""

Fails = Callable[[Scenario], Scenario | None]


def smaller(scenario: Scenario, keys: Sequence[str], attempts: Attempts) -> Scenario:
    """Apply every pass until none helps. `keys` are those of which something was found, with their prefix."""
    found = _only_one_key(scenario, keys, attempts.failing)
    while not attempts.is_over:
        before = found
        attempts.try_as_often_as_needed(found)
        for shrink in (
            _fewer_faults,
            _fewer_operations,
            _earlier,
            _fewer_nodes,
            _fewer_names,
            _plainer,
            plainer_archive,
        ):
            found = shrink(found, attempts.failing)
        if replace(found, seed=0) == replace(before, seed=0):
            break
    return found


def _first(candidates: Iterable[Scenario], fails: Fails, otherwise: Scenario) -> Scenario:
    return next((found for found in map(fails, candidates) if found is not None), otherwise)


def _only_one_key(scenario: Scenario, keys: Sequence[str], fails: Fails) -> Scenario:
    """A register knows nothing of the others, so most failures are of one key; lists see them all."""
    names = [key.removeprefix(scenario.key_prefix) for key in dict.fromkeys(keys) if key]
    candidates = (
        replace(scenario, operations=tuple(each for each in scenario.operations if each.key in (name, lists)))
        for lists in (None, "")
        for name in names[:KEYS_TRIED]
    )
    return _first(candidates, fails, scenario)


def _fewer_operations(scenario: Scenario, fails: Fails) -> Scenario:
    best = scenario

    def still_fails(operations: Sequence[Listed]) -> bool:
        nonlocal best
        found = fails(replace(scenario, operations=tuple(operations), seed=best.seed))
        best = found or best
        return found is not None

    ddmin(scenario.operations, still_fails)
    return best


def _fewer_faults(scenario: Scenario, fails: Fails) -> Scenario:
    best = scenario

    def still_fails(faults: Sequence[FaultSpec]) -> bool:
        nonlocal best
        found = fails(replace(scenario, faults=tuple(faults), seed=best.seed))
        best = found or best
        return found is not None

    ddmin(scenario.faults, still_fails)
    return best


# -- nodes and replicas


def _fewer_nodes(scenario: Scenario, fails: Fails) -> Scenario:
    best = scenario
    for least in range(1, scenario.cluster.nodes):
        found = _first(filter(_is_sound, _with_nodes(scenario, least)), fails, best)
        if found is not best:
            best = found
            break
    return _first(_with_fewer_replicas(best), fails, best)


def _with_fewer_replicas(scenario: Scenario) -> Iterator[Scenario]:
    shape = scenario.cluster
    if any(fault.nemesis in LOSES_COPIES for fault in scenario.faults):
        return
    for factor in range(1, shape.factor):
        yield replace(scenario, cluster=ClusterShape(shape.nodes, factor, min(shape.min_write_replicas, factor)))
    majority = shape.factor // 2 + 1
    if shape.min_write_replicas != majority:
        yield replace(scenario, cluster=ClusterShape(shape.nodes, shape.factor, majority))


def _with_nodes(scenario: Scenario, nodes: int) -> Iterator[Scenario]:
    """The scenario on so many nodes: those that are no more are played by another."""
    shape = scenario.cluster
    if nodes < shape.factor and any(fault.nemesis in LOSES_COPIES for fault in scenario.faults):
        return
    factor = min(shape.factor, nodes)
    cluster = ClusterShape(nodes, factor, min(shape.min_write_replicas, factor))
    names = shape.node_ids
    turned = {name: f"n{at % nodes + 1}" for at, name in enumerate(names)}
    used = sorted({node for each in scenario.operations for node in (each.node, *each.then)}, key=names.index)
    packed = {
        name: f"n{at % nodes + 1}" for at, name in enumerate([*used, *(name for name in names if name not in used)])
    }
    for plays in (turned, packed) if turned != packed else (turned,):
        yield replace(
            scenario,
            cluster=cluster,
            operations=tuple(
                replace(each, node=plays[each.node], then=tuple(plays[node] for node in each.then))
                for each in scenario.operations
            ),
            faults=tuple(_on_nodes(fault, plays) for fault in scenario.faults),
        )


def _is_sound(scenario: Scenario) -> bool:
    """No node is broken a second time while it is: nobody could say which of the two is healed first.

    What breaks the way to an archive breaks no node, and nothing that another such fault breaks.
    """
    faults = [fault for fault in scenario.faults if fault.nemesis not in OF_LINKS]
    return not any(
        set(one.target.split("+")) & set(other.target.split("+"))
        and (one.nemesis == other.nemesis or not {one.nemesis, other.nemesis} & set(ARCHIVE_NEMESES))
        and one.at_s <= other.at_s + other.for_s
        and other.at_s <= one.at_s + one.for_s
        for one, other in itertools.combinations(faults, 2)
    )


def _on_nodes(fault: FaultSpec, plays: dict[str, str]) -> FaultSpec:
    hit = [plays[name] for name in fault.target.split("+") if name in plays]
    return replace(fault, target="+".join(sorted(set(hit)))) if hit else fault


# -- names: clients and keys


def _fewer_names(scenario: Scenario, fails: Fails) -> Scenario:
    best = scenario
    for key in sorted({each.key for each in scenario.operations if each.key})[1:]:
        others = sorted({each.key for each in best.operations if each.key} - {key})
        best = _first((_renamed_key(best, key, other) for other in others[:2]), fails, best)
    for client in sorted({each.client for each in scenario.operations})[1:]:
        others = sorted({each.client for each in best.operations} - {client})
        best = _first((_renamed_client(best, client, other) for other in others[:2]), fails, best)
    return best


def _renamed_key(scenario: Scenario, key: str, other: str) -> Scenario:
    def named(old: str) -> str:
        return other if old == key else old

    operations = (replace(each, key=named(each.key), source=named(each.source)) for each in scenario.operations)
    return replace(scenario, operations=tuple(operations))


def _renamed_client(scenario: Scenario, client: str, other: str) -> Scenario:
    operations = _numbered(scenario.operations, lambda each: "")  # as of one client, so that none is there twice
    return replace(
        scenario,
        operations=tuple(_of_clients(each, {client: other}) for each in operations),
    )


def renamed(scenario: Scenario) -> Scenario:
    """With clients called a, b, c in the order in which they come, and the operations of each counted from 1 on."""
    names = {name: _letter(at) for at, name in enumerate(dict.fromkeys(each.client for each in scenario.operations))}
    operations = _numbered(scenario.operations, lambda each: each.client)
    return replace(scenario, operations=tuple(_of_clients(each, names) for each in operations))


def _of_clients(operation: Listed, names: Mapping[str, str]) -> Listed:
    """The operation with other names for clients, also for the one that made its version."""
    maker, slash, number = operation.made_by.partition("/")
    made_by = names.get(maker, maker) + slash + number
    return replace(operation, client=names.get(operation.client, operation.client), made_by=made_by)


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else f"c{place}"


def _numbered(operations: Sequence[Listed], counted_with: Callable[[Listed], str]) -> tuple[Listed, ...]:
    """The operations with new numbers; what sends a put again, or is about a version, still means the same one."""
    counts: Counter[str] = Counter()
    numbers: dict[tuple[str, int], int] = {}
    told = []
    for each in operations:
        counts[counted_with(each)] += 1
        op = counts[counted_with(each)]
        maker, _, number = each.made_by.partition("/")
        made_by = f"{maker}/{numbers[maker, int(number)]}" if number and (maker, int(number)) in numbers else ""
        told.append(replace(each, op=op, again=numbers.get((each.client, each.again), 0), made_by=made_by))
        numbers[each.client, each.op] = op
    return tuple(told)


# -- plainer operations and faults


def _plainer(scenario: Scenario, fails: Fails) -> Scenario:
    best = scenario
    everything = replace(
        scenario,
        operations=tuple(_plain(each) for each in scenario.operations),
        faults=tuple(_plain_fault(fault) for fault in scenario.faults),
    )
    best = _first((everything,), fails, best) if everything != scenario else best
    for at in range(len(best.operations)):
        for plain in _plainer_operations(best.operations[at]):
            operations = (*best.operations[:at], plain, *best.operations[at + 1 :])
            best = _first((replace(best, operations=operations),), fails, best)
    for at in range(len(best.faults)):
        for quiet in _plainer_faults(best.faults[at]):
            faults = (*best.faults[:at], quiet, *best.faults[at + 1 :])
            best = _first((replace(best, faults=faults),), fails, best)
    return best


def _plain(operation: Listed) -> Listed:
    return replace(operation, size_bytes=SMALL_BYTES if operation.kind in WITH_BODY else 0, then=())


def _plainer_operations(operation: Listed) -> Iterator[Listed]:
    plain = _plain(operation)
    if plain != operation:
        yield plain
    for kind in ("put", "get", "delete"):
        if operation.kind.startswith(kind + "_"):
            size_bytes = SMALL_BYTES if kind == "put" else 0
            yield replace(plain, kind=kind, size_bytes=size_bytes, again=0, span=(0, 0), made_by="")
    if operation.kind.startswith(("copy", "multipart")):
        yield replace(plain, kind="put", size_bytes=SMALL_BYTES, source="")


def _plain_fault(fault: FaultSpec) -> FaultSpec:
    return replace(fault, when="at_once", for_s=min(fault.for_s, 0.3))


def _plainer_faults(fault: FaultSpec) -> Iterator[FaultSpec]:
    plain = _plain_fault(fault)
    if plain != fault:
        yield plain
    if fault.nemesis in ("power_cut", "restart", "disk_lost"):
        yield replace(plain, nemesis="kill")


def plainer_archive(scenario: Scenario, fails: Fails) -> Scenario:
    """Without an archive if that fails too; else with one of which less is said."""
    archive, usual = scenario.archive, ArchiveShape()
    best = scenario
    if archive.is_there and not any(fault.nemesis in ARCHIVE_NEMESES for fault in scenario.faults):
        best = _first((replace(scenario, archive=NO_ARCHIVE),), fails, best)
    for name in ("rules", "settings", "lag_bytes_max", "evict_above_bytes"):
        plain = replace(best.archive, **{name: getattr(usual, name)})
        if plain != best.archive and not (name == "rules" and best.archive.mode == "none"):
            best = _first((replace(best, archive=plain),), fails, best)
    return best


# -- times


def _earlier(scenario: Scenario, fails: Fails) -> Scenario:
    """Times that a person would choose: events at even distances if possible, else all earlier and rounded."""
    candidates = [_evenly(scenario, gap_s) for gap_s in GAPS_S]
    candidates += [_rounded(_shifted(scenario), digits) for digits in (2, 3)]
    if any(_shape(scenario) == _shape(candidate) for candidate in candidates[:3]):
        return scenario
    return _first(candidates, fails, scenario)


def _shape(scenario: Scenario) -> list[float]:
    return [each.at_s for each in scenario.operations]


def _evenly(scenario: Scenario, gap_s: float) -> Scenario:
    """Everything in its order, `gap_s` between one and the next; what was at the same time stays so."""
    ends = [fault.at_s + fault.for_s for fault in scenario.faults]
    times = sorted({each.at_s for each in scenario.operations} | {fault.at_s for fault in scenario.faults} | {*ends})
    at_s = {time_s: round(LEAD_S + gap_s * place, 3) for place, time_s in enumerate(times)}
    return _in_time(
        replace(
            scenario,
            operations=tuple(replace(each, at_s=at_s[each.at_s]) for each in scenario.operations),
            faults=tuple(
                replace(
                    fault,
                    at_s=at_s[fault.at_s],
                    for_s=max(0.1, round(at_s[fault.at_s + fault.for_s] - at_s[fault.at_s], 3)),
                )
                for fault in scenario.faults
            ),
        )
    )


def _shifted(scenario: Scenario) -> Scenario:
    first_s = min([each.at_s for each in scenario.operations] + [fault.at_s for fault in scenario.faults])
    by_s = max(0.0, first_s - LEAD_S)
    return replace(
        scenario,
        operations=tuple(replace(each, at_s=each.at_s - by_s) for each in scenario.operations),
        faults=tuple(replace(fault, at_s=fault.at_s - by_s) for fault in scenario.faults),
    )


def _rounded(scenario: Scenario, digits: int) -> Scenario:
    return _in_time(
        replace(
            scenario,
            operations=tuple(replace(each, at_s=round(each.at_s, digits)) for each in scenario.operations),
            faults=tuple(
                replace(fault, at_s=round(fault.at_s, digits), for_s=max(0.1, round(fault.for_s, digits)))
                for fault in scenario.faults
            ),
        )
    )


def _in_time(scenario: Scenario) -> Scenario:
    last_s = max([each.at_s for each in scenario.operations] + [fault.ends_s for fault in scenario.faults])
    return replace(scenario, duration_s=max(DURATION_MIN_S, round(last_s + 0.05, 1)))


PASSES: Final = (
    _fewer_faults,
    _fewer_operations,
    _earlier,
    _fewer_nodes,
    _fewer_names,
    _plainer,
    plainer_archive,
)
