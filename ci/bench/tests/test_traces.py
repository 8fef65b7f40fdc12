"""The synthetic traces are honest, and a lie in them is found whatever linear order is replayed. Real TLC."""

import json
from pathlib import Path

import pytest

from checker.verify import Options, verify
from ci.bench.traces import generate

ORDERS = (None, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("honest")
    generate(run_dir, 3000, paths=12)
    return run_dir


@pytest.mark.parametrize("seed", ORDERS)
def test_synthetic_traces_are_accepted_in_every_order(run_dir: Path, seed: int | None) -> None:
    verdict = verify(run_dir, Options(order_seed=seed))
    assert (verdict.status, verdict.reasons) == ("accepted", [])
    assert verdict.events >= 3000 and verdict.traces == 12
    assert "Refuse" not in verdict.never_taken and "Read" not in verdict.never_taken


def test_they_are_the_same_for_the_same_seed_and_others_for_another(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name, 300, seed=seed)
        texts.append((tmp_path / name / "traces" / "n1.1.ndjson").read_bytes())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("seed", ORDERS[:3])
def test_a_forgotten_promise_is_refused_at_the_same_event_in_every_order(tmp_path: Path, seed: int | None) -> None:
    generate(tmp_path, 600, paths=3)
    file = tmp_path / "traces" / "n2.1.ndjson"
    lines = file.read_text().splitlines()
    place = [place for place, line in enumerate(lines) if '"Accept"' in line][20]
    event = json.loads(lines[place])
    lines[place] = json.dumps({**event, "was_promised": event["was_accepted"]})
    file.write_text("\n".join(lines) + "\n")
    verdict = verify(tmp_path, Options(order_seed=seed))
    assert [refusal.event for refusal in verdict.refused] == [f"n2.1.{place + 1}"]
    false = [conjunct.text for conjunct in verdict.refused[0].conjuncts if not conjunct.holds]
    assert false == ["Accept_was_promised(e) = promised[Accept_node(e)]"]
