"""Fetch the wheels of an image on the host, as ci/requirements.lock pins them, so that its build needs no network.

    python -m ci.image.wheels DIRECTORY PYTHON PLATFORM ROOT...

PYTHON is the version in the image, as 3.11, and PLATFORM its processor, as x86_64. A root is a folder of ours, and
stands for all that its modules import, or the name of a package. What is in the directory already is not fetched again.
Exit 0: they are there; 3: they cannot be had, and the reason is on standard output.
"""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY: Final = Path(__file__).resolve().parents[2]
LOCK: Final = REPOSITORY / "ci" / "requirements.lock"
OLDEST_GLIBC: Final = (17, 24, 27, 28, 31, 34, 36)
"""The manylinux tags that Debian 12 and newer satisfy."""


def main(arguments: list[str]) -> int:
    """See the top of the file."""
    directory, python, platform, *roots = arguments
    wanted = closure(names_of(roots), python)
    pinned = pins(LOCK.read_text(encoding="utf-8"))
    missing = sorted(wanted - pinned.keys())
    if missing:
        print(f"{LOCK.name} does not pin {', '.join(missing)}; type make lock")
        return 3
    text = "".join(pinned[name] for name in sorted(wanted))
    place = Path(directory)
    listed = place / "requirements.txt"
    if listed.exists() and listed.read_text(encoding="utf-8") == text:
        return 0
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    fetched = place / "fetching.txt"
    fetched.write_text(text, encoding="utf-8")
    tags = [f"manylinux_2_{minor}_{platform}" for minor in OLDEST_GLIBC] + [f"manylinux2014_{platform}"]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", python, *(part for tag in tags for part in ("--platform", tag))),
        *("--dest", str(place), "--requirement", str(fetched)),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines()
        print(f"the wheels of the image cannot be fetched: {lines[-1] if lines else 'pip says nothing'}")
        return 3
    fetched.rename(listed)  # only now: what stops half-way is begun anew
    return 0


def names_of(roots: list[str]) -> set[str]:
    """The packages that these roots are, or whose modules theirs import."""
    owners = metadata.packages_distributions()
    found: set[str] = set()
    for root in roots:
        folder = REPOSITORY / root
        if not folder.is_dir():
            found.add(root)
            continue
        files = [file for file in folder.rglob("*.py") if "tests" not in file.parts]
        modules = {module for file in files for module in imported(file.read_text(encoding="utf-8"))}
        found |= {owner for module in modules for owner in owners.get(module, ()) if module not in _OURS}
    return found


_OURS: Final = ("impl", "tracegen", "checker")


def imported(source: str) -> set[str]:
    """The top names of the modules that this source imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def closure(roots: set[str], python: str) -> set[str]:
    """These packages and all that they need, by their canonical names, as those are that are installed here."""
    found: set[str] = set()
    left = list(roots)
    while left:
        wanted = Requirement(left.pop())
        name = canonicalize_name(wanted.name)
        key = f"{name}[{','.join(sorted(wanted.extras))}]"
        if key in found:
            continue
        found.add(key)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            environments = [{"extra": extra, "python_version": python} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in environments):
                left.append(f"{needed.name}[{','.join(needed.extras)}]" if needed.extras else needed.name)
    return {key.partition("[")[0] for key in found}


def pins(lock: str) -> dict[str, str]:
    """Each pinned package's lines, with its hashes."""
    blocks = re.split(r"^(?=[a-zA-Z0-9])", lock, flags=re.MULTILINE)
    return {
        canonicalize_name(match[1]): "".join(line + "\n" for line in block.splitlines() if not line.startswith("    #"))
        for block in blocks
        if (match := re.match(r"([A-Za-z0-9._-]+)==", block))
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
