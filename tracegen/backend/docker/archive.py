"""The archive's server in a container of its own, which outlives those of the nodes."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracegen.archive.s3 import BUCKET, Address
from tracegen.backend.docker.engine import Mark, understood
from tracegen.backend.docker.images import CHECKOUT
from tracegen.backend.docker.network import Network

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PORT: Final = 9000
CHANGES: Final = "/changes.ndjson"
PATHS: Final = "/harness:/opt/rig/packages:/opt/amberio/packages"


class S3Container:
    """See `archive.s3.S3Server`."""

    def __init__(self, client: "DockerClient", mark: Mark, image: str, network: Network, log: Path) -> None:
        self._client = client
        self._mark = mark
        self._image = image
        self._network = network
        self._log = log
        self._container: Container | None = None

    async def start(self, changes: Path) -> Address:
        await asyncio.to_thread(self._start, changes)
        return self._network.archive, PORT

    def ended(self) -> str | None:
        assert self._container is not None
        with understood():
            self._container.reload()
            if self._container.status == "running":
                return None
            self.keep_log()
            return f"exit code {self._container.attrs['State']['ExitCode']}"

    async def stop(self) -> None:
        if self._container is not None:
            await asyncio.to_thread(self.keep_log)

    def keep_log(self) -> None:
        assert self._container is not None
        with understood():
            self._log.write_bytes(self._container.logs())

    def _start(self, changes: Path) -> None:
        api = self._client.api
        with understood():
            endpoint = api.create_endpoint_config(ipv4_address=self._network.archive)
            made = api.create_container(
                self._image,
                name=self._mark.name("archive"),
                hostname="archive",
                entrypoint=["python3"],
                command=["-m", "tracegen.archive.s3_server", "0.0.0.0", str(PORT), BUCKET, CHANGES],
                environment={"PYTHONPATH": PATHS, "PYTHONUNBUFFERED": "1"},
                user=f"{os.getuid()}:{os.getgid()}",
                labels=self._mark.labels,
                networking_config={"EndpointsConfig": {self._network.name: endpoint}},
                host_config=api.create_host_config(
                    binds=[f"{CHECKOUT / 'tracegen'}:/harness/tracegen:ro", f"{changes.resolve()}:{CHANGES}"],
                    network_mode=self._network.name,
                    cap_drop=["ALL"],
                    cap_add=["DAC_OVERRIDE"],
                    security_opt=["no-new-privileges"],
                ),
            )
            self._container = self._client.containers.get(made["Id"])
            self._container.start()
