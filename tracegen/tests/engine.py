"""A Docker engine for tests: one that answers, or dockerd started where that may be done."""

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tracegen.backend.docker.engine import connect
from tracegen.backend.docker.images import Images, images
from tracegen.errors import HarnessError

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
IS_REQUIRED = os.environ.get("AMBERIO_DOCKER") == "required"


def need_engine() -> Images:
    """The images of this checkout. Skips the test, and says why, where there is no engine, or fails it in CI."""
    found = _images()
    if isinstance(found, Images):
        return found
    if IS_REQUIRED:
        pytest.fail(f"containers are part of this: {found}")
    pytest.skip(f"no containers: {found}")


@cache
def _images() -> Images | str:
    """They, or why there are none."""
    done = subprocess.run([ROOT / "ci" / "docker-engine"], capture_output=True, text=True, timeout=START_S, check=False)
    if done.returncode:
        return done.stdout.strip() or done.stderr.strip()
    try:
        return images(connect(), lambda _: None)
    except HarnessError as error:
        return str(error)
