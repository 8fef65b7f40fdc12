"""The deliberate bugs that a simulated node can be started with: name -> where it is, and the promise it breaks."""

from impl.protocol.rules import MUTANTS

__all__ = ["MUTANTS"]
