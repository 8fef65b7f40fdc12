"""The private network of a run: no way out of it, every address fixed."""

import ipaddress
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracegen.backend.docker.engine import Mark, understood
from tracegen.errors import HarnessError

if TYPE_CHECKING:
    from docker import DockerClient

POOL: Final = ipaddress.ip_network("10.213.0.0/16")
TRIES: Final = 40
ARCHIVE: Final = 9
FIRST_NODE: Final = 11


@dataclass(frozen=True)
class Network:
    """`gateway` is the harness's own address there."""

    name: str
    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def archive(self) -> str:
        return str(self.subnet[ARCHIVE])

    def node(self, number: int) -> str:
        """The address of a node, the first of which is number 0."""
        return str(self.subnet[FIRST_NODE + number])


def make_network(client: "DockerClient", mark: Mark) -> Network:
    """A network of its own, on addresses that nobody else has; raises HarnessError if there are none."""
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    name = mark.name("net")
    subnets = random.SystemRandom().sample(list(POOL.subnets(new_prefix=24)), TRIES)
    refused = ""
    for subnet in subnets:
        assert isinstance(subnet, ipaddress.IPv4Network)
        pool = IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        with understood():
            try:
                client.api.create_network(
                    name, driver="bridge", internal=True, labels=mark.labels, ipam=IPAMConfig(pool_configs=[pool])
                )
            except APIError as error:
                if "overlap" not in str(error.explanation).lower():
                    raise
                refused = str(error.explanation)
                continue
        return Network(name, subnet)
    raise HarnessError(f"there is no free network in {POOL} ({refused}); remove what runs left there: tracegen clean")
