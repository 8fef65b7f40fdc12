"""A node's wall clock under the harness's hand: libfaketime adds what a file says, and to no other clock."""

import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from tracegen.backend.node_config import HEALTH
from tracegen.errors import Lost, NotSent
from tracegen.workload.connection import HttpConnection

LIBRARY: Final = "/opt/rig/libfaketime.so"
THERE: Final = "/clock"
NAME: Final = "offset"
ANSWER_S: Final = 1.0


class NodeClock:
    """One node's. `directory` is where its file lies on this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.set_skew_ms(0.0)

    @property
    def bind(self) -> str:
        return f"{self._directory.resolve()}:{THERE}:ro"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": f"{THERE}/{NAME}",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_skew_ms(self, skew_ms: float) -> None:
        new = self._directory / f"{NAME}.new"
        new.write_text(f"{skew_ms / 1000:+.3f}\n", encoding="utf-8")
        new.replace(self._directory / NAME)


async def told_skew_ms(connection: HttpConnection) -> float | None:
    """By how much the time that a node writes into its answers is wrong, to the second; None if it does not answer."""
    try:
        answer = await connection.request("GET", HEALTH, (), None, ANSWER_S)
    except (Lost, NotSent):
        return None
    finally:
        connection.close()
    told = answer.headers.get(b"date")
    if told is None:
        return None
    return (parsedate_to_datetime(told.decode("latin-1")).timestamp() - time.time()) * 1000
