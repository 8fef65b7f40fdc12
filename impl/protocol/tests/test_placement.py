"""Where slots live: every slot has its replicas, failure domains hold, moves are minimal, shares follow weights."""

from hypothesis import given, settings
from hypothesis import strategies as st

from impl.protocol.placement import Site, place

SLOTS = 256


@st.composite
def clusters(draw: st.DrawFn) -> list[Site]:
    count = draw(st.integers(1, 9))
    racks = draw(st.lists(st.sampled_from(["r1", "r2", "r3", "r4"]), min_size=count, max_size=count))
    return [Site(f"n{index}", rack) for index, rack in enumerate(racks)]


@settings(deadline=None)
@given(clusters(), st.integers(1, 5))
def test_every_slot_has_its_replicas_on_distinct_nodes(sites: list[Site], factor: int) -> None:
    for replicas in place(sites, factor, SLOTS):
        assert len(set(replicas)) == len(replicas) == min(factor, len(sites))


@settings(deadline=None)
@given(clusters(), st.integers(1, 5))
def test_a_rack_holds_two_replicas_of_a_slot_only_when_racks_run_out(sites: list[Site], factor: int) -> None:
    rack_of = {site.node_id: site.rack for site in sites}
    racks = len(set(rack_of.values()))
    for replicas in place(sites, factor, SLOTS):
        assert len({rack_of[node] for node in replicas}) == min(len(replicas), racks)


@settings(deadline=None)
@given(clusters(), st.integers(1, 4))
def test_a_node_that_joins_takes_slots_and_moves_none_between_others(sites: list[Site], factor: int) -> None:
    alone = [Site(site.node_id, site.node_id) for site in sites]
    before = place(alone, factor, SLOTS)
    after = place([*alone, Site("new", "new")], factor, SLOTS)
    for old, new in zip(before, after, strict=True):
        assert set(new) - {"new"} <= set(old)


def test_a_nodes_share_follows_its_weight() -> None:
    table = place([Site("big", "a", 3.0), Site("small", "b", 1.0)], 1, 4096)
    share = sum(replicas == ("big",) for replicas in table) / len(table)
    assert 0.72 < share < 0.78
