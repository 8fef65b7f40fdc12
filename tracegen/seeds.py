"""How a person names seeds: `7`, or `1..50`."""

import re
from typing import Final

from tracegen.errors import HarnessError

SEEDS_MAX: Final = 100_000


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `7` or `1..50`, none of nothing; raises HarnessError."""
    if not text:
        return ()
    found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", text)
    if found is None:
        raise HarnessError(f"--seeds is {text!r}; use a number such as 7, or a range such as 1..50")
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < first + SEEDS_MAX:
        raise HarnessError(f"--seeds is {text!r}; use a range that goes up, with {SEEDS_MAX:,} seeds at most")
    return tuple(range(first, last + 1))
