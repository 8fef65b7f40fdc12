"""Nobody accuses the honest server, and what its runs go through is all that the spec has (V6, V7).

`make honest` asks the same of 10,000 seeds.
"""

import asyncio
from pathlib import Path
from typing import Final

from tracegen.checking import verify
from tracegen.guide.coverage import never_reached, said
from tracegen.places import RunPlaces
from tracegen.swarm.pool import try_seeds

SEEDS: Final = range(1, 501)
JUDGED_EVERY: Final = 100
"""TLC judges so manieth run too."""


def test_no_seed_accuses_the_honest_server_and_all_of_the_spec_is_reached(tmp_path: Path) -> None:
    outcomes = list(try_seeds(SEEDS, (), tmp_path, jobs=1, want_every=JUDGED_EVERY))
    assert {outcome.seed: outcome.found for outcome in outcomes if outcome.found} == {}
    assert [outcome.seed for outcome in outcomes] == list(SEEDS)
    assert [said(branch) for branch in never_reached({each for one in outcomes for each in one.reached})] == []
    kept = [Path(outcome.kept) for outcome in outcomes if outcome.kept]
    # one whose faults did not all bite is no evidence, and the next one stands in, if there is one in its share
    assert len(kept) >= len(SEEDS) // JUDGED_EVERY // 2
    for root in kept:
        assert asyncio.run(verify(RunPlaces(root))).verdict.status == "accepted", root
