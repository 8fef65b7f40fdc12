"""A scenario that is written down is the same when it is read again, whoever made it."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracegen import scenario as scenarios
from tracegen.archive.shape import MODES, NO_ARCHIVE, ArchiveShape, ModeRule
from tracegen.operations import COPIES, KINDS_OF, LISTS, OF_VERSIONS, WITH_BODY, WRITES, Listed
from tracegen.scenario import VERSIONING, ClusterShape, FaultSpec, Scenario, SizeRange, Workload
from tracegen.writing import to_toml

PATH = Path("x.toml")
NODES = ("n1", "n2", "n3", "n4", "n5")


def read_again(scenario: Scenario) -> Scenario:
    return dataclasses.replace(scenarios.parse(tomllib.loads(to_toml(scenario)), PATH), path=scenario.path)


@pytest.mark.parametrize("name", scenarios.names())
def test_what_comes_with_the_harness_is_the_same_when_it_is_written_and_read(name: str) -> None:
    found = scenarios.find(name)
    assert read_again(found) == found


TIMES = st.floats(0, 5)
KEYS = st.integers(1, 40)


def workloads(api: str, versioning: str) -> st.SearchStrategy[Workload]:
    return st.builds(
        lambda keys, hot, **others: Workload(keys=keys, hot_keys=min(hot, keys), **others),
        KEYS,
        st.integers(0, 3),
        api=st.just(api),
        versioning=st.just(versioning),
        loop=st.sampled_from(("open", "closed")),
        hot_share=st.floats(0, 1),
        clients_per_node=st.integers(1, 4),
        deadline_s=st.floats(0.05, 1),
        mix=st.dictionaries(st.sampled_from(KINDS_OF[api]), st.floats(0.1, 9), min_size=1),
        sizes=st.lists(st.builds(lambda low, more: SizeRange(1.5, low, low + more), KEYS, KEYS), min_size=1).map(tuple),
    )


FAULTS = st.one_of(
    st.builds(FaultSpec, st.just("kill"), TIMES, st.floats(0.1, 2), target=st.sampled_from((*NODES, "n1+n4", "next"))),
    st.builds(FaultSpec, st.just("delay"), TIMES, st.floats(0.1, 2), delay_ms=st.floats(1, 99)),
    st.builds(FaultSpec, st.just("one_way"), TIMES, st.floats(0.1, 2), how=st.sampled_from(("stall", "reset"))),
    st.builds(FaultSpec, st.just("partition"), TIMES, st.floats(0.1, 2), how=st.sampled_from(("stall", "reset"))),
)
ARCHIVES = st.one_of(
    st.just(NO_ARCHIVE),
    st.builds(
        ArchiveShape,
        st.sampled_from(("s3", "directory")),
        st.sampled_from(("write_back", "write_through")),
        rules=st.lists(st.builds(ModeRule, st.just("a"), st.sampled_from(MODES)), max_size=2).map(tuple),
        evict_above_bytes=st.integers(0, 99),
        request_life_s=st.floats(1, 9),
        settings=st.dictionaries(st.sampled_from(("a", "b_1")), st.sampled_from((1, 2.5, True, "x")), max_size=2),
    ),
)
TEXTS = st.text(min_size=1).filter(str.strip)


def scenarios_in(api: str, versioning: str) -> st.SearchStrategy[Scenario]:
    return st.builds(
        Scenario,
        st.just("a-bucket") if api == "s3" else TEXTS,
        TEXTS,
        st.just("more"),
        st.floats(10, 60),
        st.integers(0, 2**32),
        st.just(ClusterShape(5, 3, 2)),
        workloads(api, versioning),
        st.lists(FAULTS, max_size=3).map(tuple),
        st.just(PATH),
        prefix=st.just("" if api == "s3" else "a/"),
        archive=ARCHIVES,
    )


SCENARIOS = st.one_of(scenarios_in("native", "off"), *(scenarios_in("s3", versioning) for versioning in VERSIONING))


@given(SCENARIOS)
def test_what_is_drawn_is_the_same_when_it_is_written_and_read(scenario: Scenario) -> None:
    assert read_again(scenario) == scenario


@st.composite
def lists(draw: st.DrawFn, api: str) -> tuple[Listed, ...]:
    kinds = KINDS_OF[api]
    operations: list[Listed] = []
    for op in range(1, draw(st.integers(1, 12)) + 1):
        client = draw(st.sampled_from(("a", "n1-0")))
        puts = [each.op for each in operations if each.client == client and each.kind in WITH_BODY]
        kind = draw(st.sampled_from(kinds if puts else [kind for kind in kinds if kind != "put_replay"]))
        operations.append(
            Listed(
                at_s=draw(TIMES),
                client=client,
                node=draw(st.sampled_from(NODES)),
                kind=kind,
                key="" if kind in LISTS else draw(st.sampled_from(("k001", "a/b"))),
                op=op,
                size_bytes=draw(st.integers(0, 99)) if kind in WITH_BODY else 0,
                then=draw(st.lists(st.sampled_from(NODES), max_size=3).map(tuple)) if kind in WRITES else (),
                again=draw(st.sampled_from(puts)) if kind == "put_replay" else 0,
                span=(draw(st.integers(0, 9)), draw(st.integers(9, 99))) if kind == "get_range" else (0, 0),
                page=draw(st.integers(1, 1000)) if kind in LISTS else 1000,
                made_by=draw(st.sampled_from(("", "a/1", "n1-0/12"))) if kind in OF_VERSIONS else "",
                source=draw(st.sampled_from(("k001", "a/b"))) if kind in COPIES else "",
            )
        )
    return tuple(operations)


@settings(max_examples=50, deadline=None)
@given(st.data(), SCENARIOS, st.sampled_from(("a-prefix/", "another/")))
def test_listed_operations_are_the_same_when_they_are_written_and_read(
    data: st.DataObject, scenario: Scenario, prefix: str
) -> None:
    drawn = scenario.workload
    load = Workload(api=drawn.api, versioning=drawn.versioning, deadline_s=drawn.deadline_s)
    listed = dataclasses.replace(scenario, workload=load, operations=data.draw(lists(drawn.api)), prefix=prefix)
    assert read_again(listed) == listed
