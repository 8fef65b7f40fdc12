"""Load from wrk, with every request prepared before the clock runs, so that the client is not what is measured."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KEYS = 4096
_SCRIPT = """
local requests, at = {{}}, 0
function init(args)
  local body = {body}
  for i = 1, {keys} do
    requests[i] = wrk.format("{method}", "{path}/" .. i, {{{headers}}}, body)
  end
end
function request()
  at = at % {keys} + 1
  return requests[at]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """What wrk saw: requests a second, latencies in milliseconds, failed requests."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def wrk(
    method: str, base: str, size_bytes: int, keys: int, connections: int, seconds: int, headers: Mapping[str, str]
) -> Measured:
    """`method` on keys 1 to `keys` under `base`, in turn. One thread: the other core is the server's."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is not installed; install it (Debian: apt-get install wrk) and try again")
    host, _, path = base.removeprefix("http://").partition("/")
    body = f'string.rep("x", {size_bytes})' if method == "PUT" else "nil"
    listed = ", ".join(
        f'["{name}"] = "{value}"' for name, value in {"Content-Type": "application/octet-stream", **headers}.items()
    )
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "load.lua"
        script.write_text(_SCRIPT.format(method=method, path=f"/{path}", keys=keys, body=body, headers=listed))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
        out = subprocess.run([*command, f"http://{host}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", out)
    if found is None:
        raise SystemExit(f"bench: wrk printed no result:\n{out}")
    requests, micros, p50, p99, errors = map(int, found.groups())
    return Measured(requests, requests / (micros / 1e6), p50 / 1000, p99 / 1000, errors)
