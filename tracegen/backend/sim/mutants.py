"""The bugs on purpose that a simulated node can be given: what each is called, and the promise that it breaks."""

from impl.protocol.rules import MUTANTS as _MUTANTS
from impl.protocol.rules import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS: dict[str, Mutant] = _MUTANTS
