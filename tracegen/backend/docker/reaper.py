"""Removes what a run made when its harness is gone, however that ended: a process of its own, that reads from a pipe.

The harness holds the other end. `python -m tracegen.backend.docker.reaper RUN`: at the end of its input it removes the
run, unless it was told that this is done.
"""

import os
import subprocess
import sys
from typing import Final

from tracegen.backend.spawning import PACKAGES

DONE: Final = b"done"
ENDS_S: Final = 10.0


class Reaper:
    """The process, from the harness's side."""

    def __init__(self, run: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tracegen.backend.docker.reaper", run],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (PACKAGES, os.getenv("PYTHONPATH"))))},
            start_new_session=True,  # Ctrl-C is for the harness
        )

    def let_go(self) -> None:
        """All is removed: it is not needed any more."""
        try:
            self._process.communicate(DONE, timeout=ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Wait for the harness's end."""
    (run,) = sys.argv[1:]
    if sys.stdin.buffer.read() == DONE:
        return
    from tracegen.backend.docker.engine import connect, remove

    remove(connect(), run)


if __name__ == "__main__":
    main()
