"""Calls to a cluster: all come back, and never are more out than it has threads. Here the cluster is a pool of threads.

With real schedulers and workers: integration/test_dask_cluster.py.
"""

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.dask_cluster import Call, DaskCluster, code_digest
from checker.errors import CannotCheck


class Pool(Executor):
    """Makes calls in threads of its own, and counts how many were out at most, beyond what was allowed."""

    def __init__(self, threads: list[int]) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(8)
        self._allowed = 0
        self._out = list[Future[Any]]()
        self.most_too_many = 0

    def submit(self, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        self._out = [*(future for future in self._out if not future.done()), self._pool.submit(*arguments)]
        self.most_too_many = max(self.most_too_many, len(self._out) - max(1, self._allowed))
        return self._out[-1]

    def shutdown(self, wait: bool = True, **_: Any) -> None:
        self._pool.shutdown(wait)

    # what of distributed.Client is used

    def get_executor(self, *, pure: bool) -> "Pool":
        assert not pure, "two equal calls are two calls"
        return self

    def nthreads(self) -> dict[str, int]:
        """As many as are next in the list, which goes round: workers come and go."""
        self._threads.append(self._threads.pop(0))
        self._allowed = self._threads[-1]
        return {"a worker": self._allowed}


@settings(deadline=None)
@given(st.integers(0, 40), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_every_call_comes_back_once_and_no_more_are_out_than_there_are_threads(count: int, threads: list[int]) -> None:
    pool = Pool(threads)
    taken = list[int]()

    def calls() -> Iterator[Call[int]]:
        for number in range(count):
            taken.append(number)
            yield Call(f"number {number}", abs, (-number,))

    with pool:
        cluster = DaskCluster("tcp://somewhere:1", pool, ())  # type: ignore[arg-type]
        assert sorted(cluster.each(calls())) == taken == list(range(count))
    # workers that went leave calls behind that were allowed when they were sent
    assert pool.most_too_many <= max(threads)
    if len(set(threads)) == 1:
        assert pool.most_too_many <= 0


def test_what_a_call_raises_is_raised_here_and_those_behind_it_are_not_sent() -> None:
    with Pool([1]) as pool:
        cluster = DaskCluster("tcp://somewhere:1", pool, ())  # type: ignore[arg-type]
        returned = cluster.each(Call(f"root {n}", int, (n,)) for n in ("1", "two", "3"))
        assert next(returned) == 1
        with pytest.raises(ValueError, match="two"):
            next(returned)


def test_code_that_differs_in_a_byte_or_a_name_is_told_apart_but_for_tests_and_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "amberio_other"

    def digest() -> str:
        code_digest.cache_clear()
        return code_digest(("amberio_other",))

    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("ONE = 1\n")
    first = digest()
    (package / "tests" / "test_one.py").write_text("")
    (package / "__pycache__").mkdir()
    assert digest() == first
    (package / "__init__.py").write_text("ONE = 2\n")
    second = digest()
    (package / "__init__.py").rename(package / "two.py")
    (package / "__init__.py").write_text("")
    assert len({first, second, digest()}) == 3
    code_digest.cache_clear()
    with pytest.raises(CannotCheck, match="there is no package amberio_none"):
        code_digest(("amberio_none",))
