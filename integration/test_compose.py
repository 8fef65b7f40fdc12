"""What compose.yaml and the recipes for CI say is what the server, the harness and make know."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from impl.config import read_tree, settings_of
from tracegen.cli import app

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "ci" / "compose" / "cluster.yaml"
RECIPES = sorted((ROOT / "ci" / "recipes").glob("*.yml"))


def written(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def nodes() -> dict[str, Any]:
    services = written(ROOT / "compose.yaml")["services"]
    return {name: service for name, service in services.items() if "8080" in str(service.get("ports"))}


def test_the_nodes_of_the_composition_can_start_with_the_file_that_they_are_given() -> None:
    for name, service in nodes().items():
        secrets = {key: f"{value}-long-enough" for key, value in service["environment"].items()}
        settings = settings_of(read_tree(CLUSTER), secrets, CLUSTER.name, CLUSTER)
        assert service["command"] == ["--config", "/etc/amberio/config.yaml", "--node", name]
        assert str(settings.node(name).advertise_addr) == f"{name}:8080"
        assert f"./{CLUSTER.relative_to(ROOT)}:/etc/amberio/config.yaml:ro" in service["volumes"]
        assert f"{name}:/disk" in service["volumes"]


def test_prometheus_asks_every_node() -> None:
    (job,) = written(ROOT / "ci" / "compose" / "prometheus.yaml")["scrape_configs"]
    (targets,) = job["static_configs"]
    assert targets["targets"] == [f"{name}:8080" for name in nodes()]
    assert len(nodes()) == 3


def commands(recipe: Any) -> list[str]:
    """Every command line of a recipe, whatever its host calls them."""
    if isinstance(recipe, dict):
        found = [line for value in recipe.values() for line in commands(value)]
        return found + ([recipe["run"]] if "run" in recipe else [])
    if isinstance(recipe, list):
        return [line for value in recipe for line in ([value] if isinstance(value, str) else commands(value))]
    return []


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_runs_the_suite_and_a_bounded_soak_that_exist_and_keeps_what_they_report(file: Path) -> None:
    recipe = written(file)
    lines = commands(recipe)
    assert any(line.startswith("make test") for line in lines)
    (soak,) = (line for line in lines if "tracegen soak" in line)
    words = [word for word in soak.split() if word.startswith("--")]
    told = CliRunner().invoke(app, ["soak", "--help"], env={"COLUMNS": "200"}).output
    assert {"--minutes", "--backend"} <= set(words) and all(word in told for word in words)
    text = file.read_text(encoding="utf-8")
    assert "reports/junit.xml" in text and "AMBERIO_DOCKER: required" in text
