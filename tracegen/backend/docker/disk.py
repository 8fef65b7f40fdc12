"""A node's disk: a directory of the run, or a volume of limited size, which can be filled up."""

from typing import Final

from tracegen.backend.docker.machine import Machine

SIZE_BYTES: Final = 256 * 1024 * 1024
PROBE_BYTES: Final = 1024 * 1024
"""A disk that takes so much has room."""


class VolumeDisk:
    """See `nemesis.powers.FillableDisk`: a volume in memory, which a file of the harness fills."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._refused = 0

    def leave_room(self, room_bytes: int | None) -> None:
        if room_bytes is None:
            self._machine.tell("unfill")
        else:
            self._machine.tell("fill", room_bytes)

    def refused(self) -> int:
        """Tries a write each time, so that what a node found full is known to be."""
        self._refused += bool(self._machine.tell("refusal", PROBE_BYTES))
        return self._refused


def volume_options(owner: tuple[int, int]) -> dict[str, str]:
    """What the engine's driver of local volumes is told."""
    user, group = owner
    return {"type": "tmpfs", "device": "tmpfs", "o": f"size={SIZE_BYTES},uid={user},gid={group},mode=0700"}
