"""Carries out a run on the backend that the user names. What only one of them can do is refused here by the other."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tracegen.backend.face import Cluster
from tracegen.backend.process import ProcessCluster
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces
from tracegen.report import RunReport
from tracegen.run import carry_out
from tracegen.scenario import CONTAINER_NEMESES, MACHINE_NEMESES, Scenario

BACKENDS: Final = ("process", "docker", "sim")

CANNOT: Final[Mapping[str, frozenset[str]]] = {
    "process": frozenset((*MACHINE_NEMESES, *CONTAINER_NEMESES)) - {"power_cut"},
    "docker": frozenset(MACHINE_NEMESES) - {"power_cut", "disk_full", "clock_jump", "clock_skew"},
    "sim": frozenset(CONTAINER_NEMESES),
}
"""The nemeses that a backend does not have."""
WHAT: Final = {"process": "real processes", "docker": "containers", "sim": "simulated nodes"}


def check_backend(name: str, scenario: Scenario | None = None) -> None:
    """Raises HarnessError if there is no such backend, or it cannot do what the scenario asks."""
    if name not in BACKENDS:
        raise HarnessError(f"--backend is {name!r}; use one of {', '.join(BACKENDS)}")
    if scenario is None or can_do(name, scenario):
        return
    beyond = sorted({fault.nemesis for fault in scenario.faults} & CANNOT[name])
    able = [other for other in BACKENDS if can_do(other, scenario)]
    told = f"use --backend {' or '.join(able)}" if able else "no backend can do all of this"
    raise HarnessError(f"{scenario.path.name} uses {', '.join(beyond)}: {WHAT[name]} cannot be broken so; {told}")


def can_do(backend: str, scenario: Scenario) -> bool:
    """Has the backend all the faults that the scenario wants?"""
    return not {fault.nemesis for fault in scenario.faults} & CANNOT[backend]


async def carry_out_on(
    backend: str,
    scenario: Scenario,
    seed: int,
    places: RunPlaces,
    *,
    mutants: Sequence[str] = (),
    keep: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> RunReport:
    """Make the run and write its directory; raises HarnessError when it cannot be made. `keep` is for the disks."""
    check_backend(backend, scenario)
    if backend == "sim":
        from tracegen.backend.sim.session import simulate  # brings the server's code with it, which nobody else needs

        return await asyncio.to_thread(simulate, scenario, seed, places, mutants=mutants, say=say)
    cluster = _cluster(backend, scenario, places, mutants, keep, say)
    return await carry_out(scenario, seed, cluster, places, backend=backend, mutants=mutants, say=say)


def _cluster(
    backend: str, scenario: Scenario, places: RunPlaces, mutants: Sequence[str], keep: bool, say: Callable[[str], None]
) -> Cluster:
    nemeses = {fault.nemesis for fault in scenario.faults}
    if backend == "process":
        return ProcessCluster(
            places, scenario.cluster, archive=scenario.archive, nemeses=nemeses, mutants=mutants, keep=keep
        )
    from tracegen.backend.docker.cluster import DockerCluster  # needs the SDK, which nobody else does

    return DockerCluster(
        places, scenario.cluster, archive=scenario.archive, nemeses=nemeses, mutants=mutants, keep=keep, say=say
    )
