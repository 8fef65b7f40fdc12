"""How a state machine is run: over the code as it is, and over code that is broken on purpose and must be noticed."""

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Machine = Callable[[], RuleBasedStateMachine]


def walk(machine: Machine, examples: int, steps: int) -> None:
    """Let Hypothesis walk the machine, up to `steps` rules an example; raises whatever the machine finds."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # a class or any other factory, it says
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )


def assert_refuted(machine: Machine, examples: int, steps: int) -> None:
    """The machine must accuse what it walks over; the first accusation is enough.

    `examples` is how many walks it may take, at most: several times what it usually takes, as walks are not quite the
    same at each call (Hypothesis draws from constants of what is imported, too).
    """
    same_walks = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )
    # Flaky: threads took turns in another way when Hypothesis tried it again; code that is whole is never accused
    with pytest.raises((AssertionError, Flaky)):
        run_state_machine_as_test(machine, settings=same_walks)  # type: ignore[arg-type]
