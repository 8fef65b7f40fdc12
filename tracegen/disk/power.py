"""The harness's hand on disks that lose what was not synced."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from tracegen.backend.spawning import PACKAGES
from tracegen.errors import HarnessError
from tracegen.places import RunPlaces

PASSTHROUGH: Final = (sys.executable, "-m", "tracegen.disk.passthrough")
WRITE_BACK_S: Final = 1.0
"""How often all is written back: a kernel takes its time, too, though more of it."""
MOUNTED_S: Final = 20.0
CUT_S: Final = 60.0
ENDS_S: Final = 10.0
POLL_S: Final = 0.01


class PoweredDisk:
    """One node's disk, mounted at `mountpoint`; what is durable of it lies in `platter`."""

    def __init__(self, platter: Path, mountpoint: Path, log: Path, write_back_s: float = WRITE_BACK_S) -> None:
        self._write_back_s = write_back_s
        self._platter = platter
        self._mountpoint = mountpoint
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def mount(self, owner: tuple[int, int] | None = None) -> None:
        """Mount it, empty; raises HarnessError with what was said instead."""
        for directory in (self._platter, self._mountpoint):
            directory.mkdir(parents=True, exist_ok=True)
        if owner is not None:
            os.chown(self._platter, *owner)
        paths = os.pathsep.join(filter(None, (PACKAGES, os.getenv("PYTHONPATH"))))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *PASSTHROUGH, str(self._platter), str(self._mountpoint), str(self._write_back_s),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONPATH": paths}, start_new_session=True,
            )  # fmt: skip
        clock = asyncio.get_running_loop().time
        end_s = clock() + MOUNTED_S
        while not os.path.ismount(self._mountpoint):  # noqa: ASYNC240  # a local stat
            if self._process.returncode is not None or clock() > end_s:
                said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise HarnessError(f"no disk that loses its power can be mounted: {said[-1] if said else 'no word'}")
            await asyncio.sleep(POLL_S)

    def hold(self) -> None:
        """The power is about to be cut: from now on nothing is written back that nobody syncs."""
        self._say("hold")

    async def cut(self) -> int:
        """Take away what was not synced; whoever used the disk must be dead. How many writes that were."""
        process = self._say("cut")
        assert process.stdout is not None
        try:
            async with asyncio.timeout(CUT_S):
                return int(await process.stdout.readline())
        except (ValueError, TimeoutError, ConnectionError) as error:
            raise HarnessError(f"the disk at {self._mountpoint} does not lose its power: {error!r}") from error

    def _say(self, word: str) -> asyncio.subprocess.Process:
        if self._process is None or self._process.stdin is None:
            raise HarnessError(f"{self._mountpoint} is not mounted")
        self._process.stdin.write(f"{word}\n".encode())
        return self._process

    async def unmount(self) -> None:
        """Hang up, and it unmounts itself."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(ENDS_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def powered_disk(places: RunPlaces, node: str) -> PoweredDisk:
    """That of a run's node, mounted where its disk is."""
    return PoweredDisk(places.platters / node, places.disks / node, places.log(f"{node}-disk"))
