"""Imports point the way the design says (design.md): a newcomer can trust the layout of the folders."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def imported(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            modules.add(node.module)
    return modules


def sources(package: str) -> list[Path]:
    return [file for file in (ROOT / package).rglob("*.py") if "tests" not in file.parts]


def offenders(files: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in files
        for module in sorted(imported(file))
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]


def test_the_checker_knows_neither_server_nor_harness() -> None:
    assert offenders(sources("checker"), ("impl", "tracegen")) == []


def test_only_the_simulator_runs_the_servers_code() -> None:
    files = [file for file in sources("tracegen") if "sim" not in file.relative_to(ROOT).parts]
    assert offenders(files, ("impl",)) == []


def test_the_server_knows_neither_harness_nor_checker() -> None:
    assert offenders(sources("impl"), ("tracegen", "checker")) == []


def test_the_protocol_is_pure() -> None:
    effects = ("asyncio", "os", "time", "random", "secrets", "socket", "threading", "pathlib", "apsw", "structlog")
    assert offenders(sources("impl/protocol"), effects) == []
    above = ("impl.api", "impl.node", "impl.cluster", "impl.storage", "impl.trace", "impl.doors", "impl.config")
    assert offenders(sources("impl/protocol"), above) == []


RANKS = ("impl.protocol", "impl.storage", "impl.cluster", "impl.node", "impl.api")


@pytest.mark.parametrize("lower", range(len(RANKS) - 1))
def test_imports_point_down_only(lower: int) -> None:
    files = sources(RANKS[lower].replace(".", "/"))
    assert offenders(files, RANKS[lower + 1 :]) == []
