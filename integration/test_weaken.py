"""The conditions of the register's spec are all needed: weaken one, and a trace or a model notices.

All of them, with the whole corpus and the models, take long: `make weaken`. Here are those that the forgeries are for,
and that what is explained is there.
"""

import tempfile
from pathlib import Path

import pytest

from checker import tlc
from checker.weaken import Corpus, read_survivors
from checker.weakenings import weakenings
from integration.corpus import SEED
from integration.forgeries import CLUSTER, Forgery, forgeries
from integration.judging import MANIFEST, WITH_KILLS, behaviours, run_of_simulator, write

SURVIVORS = MANIFEST.path.parent / "twins" / "survivors.toml"
TIMEOUT_S = 300.0
EXPLAINED_SHARE_MAX = 0.05


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> list[Forgery]:
    return forgeries(behaviours(run_of_simulator(tmp_path_factory.mktemp("run") / "run", WITH_KILLS, seed=SEED)))


def test_each_forgery_is_refused_for_one_condition_only(forged: list[Forgery], tmp_path: Path) -> None:
    run = write(tmp_path / "run", [(each.name, each.behaviour) for each in forged], CLUSTER)
    every = weakenings(MANIFEST)
    against = [one for each in forged for one in every if (one.operator, one.part) == (each.operator, each.part)]
    assert len(against) == len(forged)
    with tempfile.TemporaryDirectory(dir=tmp_path) as scratch:
        corpus = Corpus(tlc.locate(), MANIFEST, run, Path(scratch), TIMEOUT_S)
        assert not corpus.accepted
        noticed = corpus.judge(against)
    assert noticed == [f"accepts {each.name!r}" for each in forged]


def test_what_is_explained_is_a_condition_of_the_spec() -> None:
    every = weakenings(MANIFEST)
    for survivor in read_survivors(SURVIVORS):
        assert [one.name for one in every if survivor.is_of(one)], survivor
    assert len(read_survivors(SURVIVORS)) <= EXPLAINED_SHARE_MAX * len(every)
