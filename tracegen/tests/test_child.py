"""The process that a thread of a Dask worker has for its simulations: it serves, it may die, it never stays behind."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracegen.errors import HarnessError
from tracegen.swarm.child import call_in_child

WAIT_S = 30.0


@settings(deadline=None, max_examples=50)
@given(st.recursive(st.none() | st.integers() | st.binary(max_size=200_000), st.lists))
def test_what_a_call_returns_comes_back_as_it_was(value: object) -> None:
    assert call_in_child(list, (value,)) == [value]


def test_each_thread_has_one_process_for_all_its_calls() -> None:
    together = Barrier(2)

    def two_calls(_: int) -> set[int]:
        together.wait(WAIT_S)
        return {call_in_child(os.getpid), call_in_child(os.getpid)}

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(two_calls, range(2))
    assert len(first) == len(second) == len(first - second - {os.getpid()}) == 1


def test_what_a_call_raises_is_raised_here_and_the_process_goes_on() -> None:
    before = call_in_child(os.getpid)
    with pytest.raises(ValueError, match="invalid literal"):
        call_in_child(int, "seven")
    assert call_in_child(os.getpid) == before


@pytest.mark.parametrize(
    ("ending", "argument", "says"), [(os._exit, 3, "with exit code 3"), (os.abort, None, "of SIGABRT")]
)
def test_a_call_that_ends_its_process_is_a_mistake_with_a_cause_and_the_next_has_a_new_one(
    ending: object, argument: int | None, says: str
) -> None:
    before = call_in_child(os.getpid)
    with pytest.raises(HarnessError, match=f"a process of the swarm died {says}"):
        call_in_child(ending, *([] if argument is None else [argument]))  # type: ignore[arg-type]
    assert call_in_child(os.getpid) not in (before, os.getpid())


def test_a_process_ends_with_the_one_that_started_it_however_that_ends() -> None:
    program = (
        "import os, time; from tracegen.swarm.child import call_in_child; "
        "print(call_in_child(os.getpid), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    end_s = time.monotonic() + WAIT_S
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)
