"""What the harness has in a node's machine: filters packets there, tries links as the node would, fills the disk.

Runs in the machine's container with nothing but Python's standard library: `python3 agent.py PORT DISK`. A line of JSON
is a command, and is answered by one: {"told": ...}, or {"wrong": "why not"}. A connection's commands are carried out
one after the other.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEALTH = b"GET /_/api/v1/healthz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n"
CHUNK_BYTES = 65536


def filter_packets(disk: str, rules: list[str]) -> None:
    """Have these rules, and no others."""
    _iptables_restore("filter", rules)


def count_packets(disk: str, peers: list[str]) -> None:
    """Count from now on what comes from these addresses."""
    _iptables_restore("mangle", [f"-A PREROUTING -s {peer}" for peer in peers])


def passed_bytes(disk: str, peer: str) -> int:
    """How much came from this address since it is counted."""
    return sum(int(words[1]) for words in _counters("mangle", "PREROUTING") if peer in words)


def dropped_packets(disk: str, peer: str) -> int:
    """How many of those to this address were dropped by the filter that is there now."""
    lines = _counters("filter", "OUTPUT")
    return sum(int(words[0]) for words in lines if peer in words and "DROP" in words)


def fill(disk: str, room_bytes: int) -> int:
    """Leave this much room on the disk; how much there is then."""
    with _filler(disk).open("ab") as filler:
        wanted = filler.tell() + _room_bytes(disk) - room_bytes
        if wanted > filler.tell():
            os.posix_fallocate(filler.fileno(), 0, wanted)
    return _room_bytes(disk)


def unfill(disk: str) -> int:
    """Take away what filled the disk; how much room there is then."""
    _filler(disk).unlink(missing_ok=True)
    return _room_bytes(disk)


def refusal(disk: str, size_bytes: int) -> str:
    """Write a file of this size, and remove it; what the disk says to it, nothing if it takes it."""
    file = Path(disk) / "probe-of-the-harness"
    try:
        with file.open("wb") as probe:
            probe.write(b"x" * size_bytes)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return os.strerror(error.errno or 0)
    finally:
        file.unlink(missing_ok=True)
    return ""


def wipe(disk: str) -> int:
    """Put an empty disk in the place of this one; how many things were on it."""
    found = list(Path(disk).iterdir())
    for one in found:
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
    return len(found)


async def cross(disk: str, host: str, port: int, patience_s: float) -> list[Any]:
    """Ask there for the node's health: answered, broken or stalled, and after how many milliseconds."""
    clock = asyncio.get_running_loop().time
    start_s = clock()
    result = "stalled"
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(HEALTH)
                answer = await reader.read(CHUNK_BYTES)
                result = "answered" if answer.startswith(b"HTTP/1.1 ") else "broken"
            finally:
                writer.transport.abort()
    except TimeoutError:
        pass
    except OSError:
        result = "broken"
    return [result, (clock() - start_s) * 1000]


async def is_reset(disk: str, host: str, port: int, patience_s: float) -> bool:
    """Open a connection, say nothing, and see whether it is reset within this time."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(patience_s):
            return await reader.read(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.transport.abort()


OF_LINKS = (filter_packets, count_packets, passed_bytes, dropped_packets, cross, is_reset)
OF_DISKS = (fill, unfill, refusal, wipe)
COMMANDS: dict[str, Callable[..., Any]] = {command.__name__: command for command in (*OF_LINKS, *OF_DISKS)}


def _iptables_restore(table: str, rules: list[str]) -> None:
    text = "\n".join([f"*{table}", *rules, "COMMIT", ""])
    command = ["iptables-restore"]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OSError(f"iptables-restore: {ended.stderr.strip()}")


def _counters(table: str, chain: str) -> list[list[str]]:
    """The words of a rule's line: packets, bytes, what becomes of them, and the rest."""
    command = ["iptables", "-t", table, "-nvxL", chain]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split() for line in lines]


def _filler(disk: str) -> Path:
    return Path(disk) / "filler-of-the-harness"


def _room_bytes(disk: str) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


async def _serve(disk: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        asked = json.loads(line)
        try:
            told = COMMANDS[asked["do"]](disk, *asked["with"])
            answer = {"told": await told if asyncio.iscoroutine(told) else told}
        except Exception as error:  # the harness must hear of anything
            answer = {"wrong": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")
    writer.close()


async def main() -> None:
    """Serve until killed."""
    port, disk = sys.argv[1:]
    server = await asyncio.start_server(lambda reader, writer: _serve(disk, reader, writer), "0.0.0.0", int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
