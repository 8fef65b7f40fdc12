"""Asks the checker for a verdict on a run: a command of its own, whose answer is verdict.json in the run directory."""

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from tracegen.errors import HarnessError
from tracegen.places import RunPlaces

ACCEPTED: Final = 0
REFUSED: Final = 1
UNCHECKED: Final = 2
PATIENCE_S: Final = 900.0


class Refusal(msgspec.Struct, frozen=True):
    """An event that the spec does not allow, the `position`th of its object, or a rule that a history breaks."""

    key: str = ""
    event: str = ""
    rule: str = ""
    text: str = ""
    position: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What of verdict.json is needed here; the checker's own type says what each means."""

    status: Literal["accepted", "refused", "unchecked"]
    events: int = 0
    traces: int = 0
    refused: list[Refusal] = []  # msgspec copies a default that is an empty list
    history: list[Refusal] = []
    reasons: list[str] = []
    stages: dict[str, float] = {}


@dataclass(frozen=True)
class Checked:
    """A verdict, the checker's exit code, what it printed, and how long it took."""

    verdict: Verdict
    exit_code: int
    text: str
    seconds: float


async def verify(places: RunPlaces) -> Checked:
    """Have the checker judge a run. Raises HarnessError when it does not come to any verdict, not even 'unchecked'."""
    start_s = time.monotonic()
    file = places.verdict
    file.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "checker",
        "verify",
        str(places.root),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        raise HarnessError(f"the checker has no verdict on {places.root} after {PATIENCE_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode("utf-8", "replace")
    exit_code = process.returncode if process.returncode is not None else UNCHECKED
    try:
        verdict = msgspec.json.decode(file.read_bytes(), type=Verdict)
    except (OSError, msgspec.MsgspecError) as error:
        raise HarnessError(
            f"the checker left no verdict on {places.root} ({error}); it said:\n{text.strip()}"
        ) from None
    return Checked(verdict, exit_code, text, time.monotonic() - start_s)
