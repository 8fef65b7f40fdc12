"""Who notices when the spec is weakened? The traces of a corpus, honest and corrupted ones, and the bounded models.

A checker that would not notice that one of its conditions is gone is no evidence for that condition. So each
weakening (checker/weakenings.py) is judged: it is killed if the verdict on any trace of the corpus changes, or if a
bounded model is violated or has another number of states. What survives must be explained, in twins/survivors.toml.
The verdict is TLC's alone: what the rules on causes refuse too, the replay must refuse without them.

The corpus is replayed with many weakenings in one TLC, each with initial states of its own, as parsing the traces is
what costs. A weakening that makes TLC fail leaves no verdict, so it is noticed too; the others begin again without it.
"""

import re
import shutil
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from checker import tla_source, tlc
from checker.errors import CannotCheck
from checker.load import load
from checker.manifest import Manifest
from checker.model import Model, sections
from checker.order import linear_extension
from checker.pack import Packer
from checker.split import by_key
from checker.trace_data import data_module
from checker.weakenings import Weakening, switched, weakened

KILLED_SHARE_MIN: Final = 0.95
STATES_MAX: Final = 500_000
"""So many states one TLC is given: as many weakenings at once as the corpus' size allows."""

HEAP_MB: Final = 2048
SWITCH: Final = "weakened"
SWITCH_MODULE: Final = "WeakenedSwitch"
MODULE: Final = "Weakened"
HONEST: Final = 0
"""The switch's value for the spec as it is."""

_REPLACED: Final = frozenset(("SPECIFICATION", "INIT", "NEXT", "CONSTRAINT", "CONSTRAINTS", "VIEW"))
_REACHED = re.compile(r"^<<(\d+), (\d+), (\d+)>>$")
_SWITCHED = re.compile(rf"^/\\ {SWITCH} = (\d+)$", re.MULTILINE)


class Survivor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weakening that nothing can notice, and why that is right. `conjunct` if it is only a part of one."""

    operator: str
    part: str
    why: str
    instead: str = "TRUE"
    conjunct: str = ""

    def is_of(self, weakening: Weakening) -> bool:
        return (self.operator, self.conjunct or self.part, self.part, self.instead) == (
            weakening.operator,
            weakening.conjunct,
            weakening.part,
            weakening.instead,
        )


class _Survivors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    survivor: list[Survivor] = []


class Judged(msgspec.Struct):
    """What came of one weakening: how the corpus and the models noticed it, empty where they did not.

    `undecided` says where time ran out.
    """

    name: str
    corpus: str = ""
    models: str = ""
    undecided: str = ""

    @property
    def killed(self) -> bool:
        return bool(self.corpus or self.models)


class Report(msgspec.Struct, frozen=True):
    """All that was judged. `faults` are survivors without an explanation, and explanations without a survivor."""

    judged: list[Judged]
    faults: list[str]

    @property
    def killed(self) -> int:
        return sum(one.killed for one in self.judged)

    @property
    def exit_code(self) -> int:
        return 1 if self.faults else 0


# -- reading ----------------------------------------------------------------------------------------------------------


def read_survivors(path: Path) -> list[Survivor]:
    """The survivors that are explained; none if there is no such file."""
    if not path.exists():
        return []
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Survivors).survivor
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CannotCheck(f"{path}: {error}") from error


# -- the corpus -------------------------------------------------------------------------------------------------------


class Corpus:
    """The traces of a run, as TLC gets them: where the spec refuses one, it ends with the event that is refused.

    So nothing that comes later can refuse it in the place of the condition that is gone.
    """

    def __init__(self, tool: tlc.Tool, manifest: Manifest, run: Path, folder: Path, timeout_s: float) -> None:
        self._tool = tool
        self._manifest = manifest
        self._folder = folder
        self._timeout_s = timeout_s
        traces = load(run, manifest)
        self._packer = Packer(manifest, traces)
        self._behaviours = {
            key: indices for key, indices in enumerate(by_key(traces, linear_extension(traces))) if len(indices)
        }
        if not self._behaviours:
            raise CannotCheck(f"{run}: there is no trace of {manifest.name} here")
        self.names = [traces.keys[key] for key in self._behaviours]
        self.accepted = self._cut()
        self.events = sum(map(len, self._behaviours.values()))

    def _cut(self) -> frozenset[int]:
        """Let each trace that the spec refuses end there; the numbers, from 1, of those that it accepts."""
        self._write()
        cursors = self._reached({}, every_state=True)
        accepted = set()
        for number, (key, indices) in enumerate(self._behaviours.items(), start=1):
            last = max(cursors[HONEST, number])
            if last > len(indices):
                accepted.add(number)
            self._behaviours[key] = indices[:last]
        self._write()
        return frozenset(accepted)

    def _write(self) -> None:
        packer = self._packer
        packed = [packer.pack(key, own, packer.records(own)) for key, own in self._behaviours.items()]
        with (self._folder / "TraceData.tla").open("w", encoding="utf-8") as file:
            file.writelines(data_module(packer, packed))

    @property
    def group(self) -> int:
        """How many weakenings one TLC takes."""
        return max(1, STATES_MAX // self.events)

    def judge(self, weakenings: Sequence[Weakening]) -> list[str]:
        """For each, how the corpus notices it: the verdict on one of its traces changes. Empty if none does."""
        noticed = [""] * len(weakenings)
        left = dict(enumerate(weakenings, start=HONEST + 1))
        while left:
            try:
                reached = self._reached(left)
            except _NoVerdict as failed:
                noticed[failed.switch - HONEST - 1] = failed.says
                del left[failed.switch]
                continue
            for switch in left:
                noticed[switch - HONEST - 1] = self._difference({number for own, number in reached if own == switch})
            break
        return noticed

    def _difference(self, accepted: set[int]) -> str:
        told = []
        for says, numbers in (("accepts", accepted - self.accepted), ("refuses", self.accepted - accepted)):
            if numbers:
                more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
                told.append(f"{says} {self.names[min(numbers) - 1]!r}{more}")
        return "; ".join(told)

    def _reached(
        self, weakenings: dict[int, Weakening], *, every_state: bool = False
    ) -> dict[tuple[int, int], list[int]]:
        """(switch, number of a trace) -> the cursors reached; only those past a trace's end, or all.

        Raises _NoVerdict if TLC fails under one of the weakenings.
        """
        with tempfile.TemporaryDirectory(prefix="weaken-") as scratch:
            folder = Path(scratch)
            _write_switched(folder, self._manifest, weakenings, every_state)
            outcome = tlc.run(
                self._tool,
                folder / f"{MODULE}.tla",
                folder / f"{MODULE}.cfg",
                heap_mb=HEAP_MB,
                is_short=len(weakenings) <= 1,
                timeout_s=self._timeout_s,
                libraries=[self._folder],
            )
        if outcome.error is not None:
            found = _SWITCHED.search(outcome.behaviour[-1]) if outcome.behaviour else None
            if found is None or int(found[1]) == HONEST:
                raise CannotCheck(f"the corpus cannot be replayed: {outcome.error}")
            raise _NoVerdict(int(found[1]), outcome.error.partition("\n")[0])
        reached: dict[tuple[int, int], list[int]] = {}
        for line in outcome.printed:
            if match := _REACHED.match(line):
                reached.setdefault((int(match[1]), int(match[2])), []).append(int(match[3]))
        return reached


class _NoVerdict(Exception):
    """TLC failed under one weakening."""

    def __init__(self, switch: int, says: str) -> None:
        super().__init__(says)
        self.switch = switch
        self.says = f"no verdict: {says}"


def _write_switched(folder: Path, manifest: Manifest, weakenings: dict[int, Weakening], every_state: bool) -> None:
    """The spec with a switch for the weakenings, and its trace module over all of the switch's values."""
    _copy_modules(manifest.modules, folder)
    by_module: dict[str, list[tuple[int, Weakening]]] = {}
    for number, weakening in weakenings.items():
        by_module.setdefault(weakening.module, []).append((number, weakening))
    for module, own in by_module.items():
        path = folder / f"{module}.tla"
        path.write_text(switched(path.read_text(encoding="utf-8"), own, SWITCH, SWITCH_MODULE), encoding="utf-8")
    (folder / f"{SWITCH_MODULE}.tla").write_text(f"---- MODULE {SWITCH_MODULE} ----\nVARIABLE {SWITCH}\n====\n")
    config = dict(sections(manifest.trace_config.read_text(encoding="utf-8")))
    init, step = _init_and_next(manifest, config)
    view = config.get("VIEW", "").strip()
    values = ", ".join(map(str, weakenings or [HONEST]))
    unsaid = "FALSE" if every_state else "cursor <= Len(Traces[trace])"
    (folder / f"{MODULE}.tla").write_text(
        f"---- MODULE {MODULE} ----\nEXTENDS {manifest.trace_module}, {SWITCH_MODULE}\n"
        f"SwitchedInit == {init} /\\ {SWITCH} \\in {{{values}}}\n"
        f"SwitchedNext == {step} /\\ UNCHANGED {SWITCH}\n"
        f"SwitchedReached == {unsaid} \\/ PrintT(<<{SWITCH}, trace, cursor>>)\n"
        + (f"SwitchedView == <<{SWITCH}, {view}>>\n" if view else "")
        + "====\n",
        encoding="utf-8",
    )
    kept = "".join(f"{keyword}{body.rstrip()}\n" for keyword, body in config.items() if keyword not in _REPLACED)
    (folder / f"{MODULE}.cfg").write_text(
        f"{kept}INIT SwitchedInit\nNEXT SwitchedNext\nCONSTRAINT SwitchedReached\n"
        + ("VIEW SwitchedView\n" if view else ""),
        encoding="utf-8",
    )


def _init_and_next(manifest: Manifest, config: dict[str, str]) -> tuple[str, str]:
    if "INIT" in config and "NEXT" in config:
        return config["INIT"].strip(), config["NEXT"].strip()
    name = config.get("SPECIFICATION", "").strip()
    text = (manifest.modules / f"{manifest.trace_module}.tla").read_text(encoding="utf-8")
    found = re.search(rf"^{name}\s*==\s*(\w+)\s*/\\\s*\[\]\s*\[(\w+)\]_", text, re.MULTILINE) if name else None
    if found is None:
        raise CannotCheck(
            f"{manifest.trace_config}: name INIT and NEXT, or a SPECIFICATION that is written as "
            f"Init /\\ [][Next]_variables; it is {name or 'missing'}"
        )
    return found[1], found[2]


# -- the models -------------------------------------------------------------------------------------------------------


class ModelJudge:
    """Checks bounded models of a weakened spec, the quickest first, until one is not as its head promises."""

    def __init__(self, tool: tlc.Tool, models: Sequence[Model], timeout_s: float) -> None:
        self._tool = tool
        self._models = [
            (model, tla_source.read(model.module.parent, model.module.stem).modules, threading.Lock())
            for model in models
        ]
        self._timeout_s = timeout_s
        self._confirmed: set[str] = set()

    def judge(self, weakening: Weakening) -> tuple[str, str]:
        """How a model notices it, and where there was no time to tell; each may be empty."""
        undecided = []
        for model, modules, lock in self._models:
            if weakening.module not in modules:
                continue
            with lock:
                if model.name not in self._confirmed:
                    self._confirm(model)
            noticed, out_of_time = self._weakened(model, weakening)
            if noticed:
                return f"{model.name}: {noticed}", ""
            undecided += [out_of_time] if out_of_time else []
        return "", "; ".join(undecided)

    def _confirm(self, model: Model) -> None:
        """A model that is not as its head promises without any weakening cannot tell one."""
        outcome = self._check(model, model.module.parent)
        if outcome.violated is not None or outcome.error is not None or outcome.distinct != model.states:
            raise CannotCheck(
                f"the model {model.name} is not as its head promises, with the spec as it is: "
                f"{outcome.violated or outcome.error or f'{outcome.distinct} distinct states'}; see `checker model`"
            )
        self._confirmed.add(model.name)

    def _weakened(self, model: Model, weakening: Weakening) -> tuple[str, str]:
        with tempfile.TemporaryDirectory(prefix="weaken-") as scratch:
            folder = Path(scratch)
            _copy_modules(model.module.parent, folder)
            path = folder / f"{weakening.module}.tla"
            path.write_text(weakened(path.read_text(encoding="utf-8"), weakening), encoding="utf-8")
            outcome = self._check(model, folder)
        promised = model.states or 0
        if outcome.violated is not None:
            return f"{outcome.violated} is violated", ""
        if outcome.distinct > promised or (outcome.finished and outcome.distinct != promised):
            more = "" if outcome.finished else " and more"
            return f"{outcome.distinct:,} states{more}, not {promised:,}", ""
        if outcome.timed_out:
            return "", f"{model.name}: {self._timeout_s:g} s were not enough"
        if outcome.error is None:
            return "", ""
        if not outcome.behaviour:
            raise CannotCheck(f"{weakening.name}: that is no spec: {outcome.error}")
        return "no verdict: " + outcome.error.partition("\n")[0], ""

    def _check(self, model: Model, folder: Path) -> tlc.Outcome:
        return tlc.run(
            self._tool,
            folder / model.module.name,
            model.config,
            heap_mb=HEAP_MB,
            is_short=model.is_short,
            timeout_s=self._timeout_s,
        )


def _copy_modules(modules: Path, folder: Path) -> None:
    for module in modules.glob("*.tla"):
        shutil.copy(module, folder)


# -- judging ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judges:
    """Those who may notice. With `each`, all are asked, also about what one of them has noticed already."""

    corpora: Sequence[Corpus]
    models: ModelJudge
    each: bool
    jobs: int

    def judge(self, weakenings: Sequence[Weakening], seen: Callable[[Judged], None]) -> list[Judged]:
        """Judge all; `seen` gets each as soon as all is known of it."""
        judged = [Judged(weakening.name) for weakening in weakenings]
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for corpus in self.corpora:
                    groups = list(_groups([n for n, one in enumerate(judged) if not one.corpus], corpus.group))
                    noticed = pool.map(corpus.judge, [[weakenings[n] for n in group] for group in groups])
                    for number, says in zip(chain(*groups), chain.from_iterable(noticed), strict=True):
                        judged[number].corpus = says
                waiting = [number for number, one in enumerate(judged) if self.each or not one.killed]
                for number, one in enumerate(judged):
                    if number not in waiting:
                        seen(one)
                found = pool.map(self.models.judge, [weakenings[number] for number in waiting])
                for number, (says, undecided) in zip(waiting, found, strict=True):
                    judged[number].models, judged[number].undecided = says, undecided
                    seen(judged[number])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                tlc.stop_all()
                raise
        return judged


def _groups(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(numbers), size):
        yield numbers[begin : begin + size]


def report(
    judged: Sequence[Judged], weakenings: Sequence[Weakening], survivors: Iterable[Survivor], *, whole: bool
) -> Report:
    """Compare with what is explained. `whole`: all weakenings were judged, so each explanation must be of one."""
    faults = []
    explained: set[str] = set()
    for survivor in survivors:
        names = [weakening.name for weakening in weakenings if survivor.is_of(weakening)]
        explained.update(names)
        if not names and whole:
            faults.append(f"survivors.toml: there is no condition {survivor.part!r} in {survivor.operator}: remove it")
    for one in judged:
        if one.killed and one.name in explained:
            faults.append(
                f"{one.name}: explained as a survivor, but {one.corpus or one.models}: remove the explanation"
            )
        elif not one.killed and one.name not in explained:
            late = f" (in time: {one.undecided})" if one.undecided else ""
            faults.append(f"{one.name}: nothing notices{late}: add a trace or a model that does, or explain it")
    killed = sum(one.killed for one in judged)
    if whole and killed < KILLED_SHARE_MIN * len(judged):
        faults.append(f"only {killed} of {len(judged)} are noticed; it must be {KILLED_SHARE_MIN:.0%}")
    return Report(list(judged), faults)
