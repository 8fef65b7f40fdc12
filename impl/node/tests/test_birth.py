"""What an unborn node begins, by what it was told and what it has."""

from pathlib import Path

import pytest

from impl.errors import ConfigError
from impl.model import ReplicaSet
from impl.node.birth import begin_first_life, begin_life
from impl.storage.disks import join
from impl.storage.face import Registers
from impl.storage.membership import Configured
from impl.storage.registers import RegisterStore

OURS, OTHERS = ReplicaSet(("n1", "n2", "n3"), 2), ReplicaSet(("n2", "n3", "n4"), 2)
GROUPS = (OURS, OTHERS, OURS, OURS)


@pytest.mark.parametrize(
    ("told", "life", "behind"), [((), 1, ()), ((0, 0), 1, ()), ((0, 1), 2, (0, 2, 3)), ((4, 3), 5, (0, 2, 3))]
)
def test_an_empty_disk_begins_the_life_after_all_that_anybody_knows_of_and_has_lost_all_its_slots(
    tmp_path: Path, told: tuple[int, ...], life: int, behind: tuple[int, ...]
) -> None:
    store = RegisterStore(tmp_path / "registers.db", 0)
    begin_life(store, "n1", GROUPS, told)
    assert (store.life, store.behind) == (life, frozenset(behind))
    store.abandon()


def test_of_a_node_that_has_lived_nobody_can_say_that_its_disks_are_new(tmp_path: Path) -> None:
    store = RegisterStore(tmp_path / "registers.db", 0)
    begin_first_life(store, "n1")
    with pytest.raises(ConfigError, match="start without --init"):
        begin_first_life(store, "n1")
    store.abandon()


def test_beside_a_disk_that_knows_a_later_life_than_the_others_a_new_one_begins_the_life_after_that(
    tmp_path: Path,
) -> None:
    configured = [Configured(tmp_path / name, 1.0) for name in ("a", "b")]
    for place in configured:
        place.path.mkdir()

    def opened() -> tuple[Registers, list[RegisterStore]]:
        stores = [RegisterStore(place.path / "registers.db", 0) for place in configured]
        return join("n1", configured, stores, len(GROUPS))[0], stores

    node, stores = opened()
    node.be_born(3, ())
    for store in stores:
        store.abandon()
    (configured[1].path / "registers.db").rename(tmp_path / "lost")
    node, stores = opened()
    lost = frozenset(slot for slot in (0, 2, 3) if node.is_lost(slot))
    begin_life(node, "n1", GROUPS, (1, 0))
    assert (node.life, node.behind) == (4, lost)
    for store in stores:
        store.abandon()
