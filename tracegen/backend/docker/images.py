"""The images of a run: the node's (`Dockerfile`), and the harness's own around it (`Rig.Dockerfile`).

Both are named by a digest of what they are made of, and built when they are not there. The base is a slim Python image;
where none can be pulled it is made from Debian's packages by `ci/docker-base`, and somebody is told so.

    python -m tracegen.backend.docker.images [TAG]    # for people: build the node's image, as TAG
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracegen.backend.docker.engine import IMAGE, connect, understood
from tracegen.errors import HarnessError

if TYPE_CHECKING:
    from docker import DockerClient

CHECKOUT: Final = Path(__file__).resolve().parents[3]
SLIM: Final = "python:3.11-slim"
FROM_DEBIAN: Final = "amberio-base:bookworm"
BASE_VARIABLE: Final = "AMBERIO_BASE_IMAGE"
NODE: Final = "Dockerfile"
RIG: Final = "tracegen/backend/docker/Rig.Dockerfile"
LOCK: Final = CHECKOUT / "build" / "images.lock"
RIG_ROOTS: Final = ("moto[s3]", "flask", "flask-cors", "msgspec")
BUILD_S: Final = 900
_PLATFORMS: Final = {"amd64": "x86_64", "arm64": "aarch64"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Images:
    """By name; `digest` is that of the node's, which a report names."""

    node: str
    rig: str
    digest: str


def images(client: "DockerClient", say: Say) -> Images:
    """Those of this checkout; built if they are not there, which takes a minute or two. Raises HarnessError."""
    if not (CHECKOUT / NODE).is_file():
        raise HarnessError(f"{CHECKOUT} has no {NODE}: images are built from a checkout; clone the repository")
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several who want them one builds, and the others wait
        base = _base(client, say)
        node = _built(client, NODE, "node", {"BASE_IMAGE": base}, ("impl",), say)
        rig = _built(client, RIG, "rig", {"BASE_IMAGE": base, "NODE_IMAGE": node}, RIG_ROOTS, say)
    with understood():
        return Images(node, rig, str(client.images.get(node).id))


def _built(
    client: "DockerClient", dockerfile: str, what: str, arguments: dict[str, str], roots: Sequence[str], say: Say
) -> str:
    """The image's name."""
    name = f"amberio-{what}:{_digest(client, dockerfile, arguments.values(), roots)}"
    if _is_there(client, name):
        return name
    say(f"fetching the wheels of the image {what}")
    told = _told(client, arguments["BASE_IMAGE"])
    _must([sys.executable, "-m", "ci.image.wheels", f"build/wheels/{what}", told.python, told.platform, *roots])
    say(f"building the image {what}")
    with understood():
        # Debian's packages need the network, if the base does not have them; the rest does not
        network = "none" if what == "node" or _is_from_debian(client) else None
        lines = client.api.build(
            path=str(CHECKOUT), dockerfile=dockerfile, tag=name, buildargs=arguments, network_mode=network,
            labels={IMAGE: what}, rm=True, forcerm=True, decode=True, timeout=BUILD_S,
        )  # fmt: skip
        for line in lines:
            if "error" in line:
                raise HarnessError(f"the image {what} cannot be built: {str(line['error']).strip()}")
    return name


def _digest(client: "DockerClient", dockerfile: str, bases: Iterable[str], roots: Sequence[str]) -> str:
    """Of all that goes into an image; of the images that it stands on their ids."""
    digest = hashlib.sha256()
    with understood():
        for base in bases:
            digest.update(str(client.images.get(base).id).encode())
    for file in (CHECKOUT / dockerfile, CHECKOUT / "ci" / "requirements.lock", *_sources(roots)):
        digest.update(str(file.relative_to(CHECKOUT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _sources(roots: Sequence[str]) -> Iterator[Path]:
    for root in roots:
        folder = CHECKOUT / root
        if folder.is_dir():
            yield from (file for file in sorted(folder.rglob("*.py")) if "tests" not in file.parts)


# -- what they stand on


def _base(client: "DockerClient", say: Say) -> str:
    """The name of a base that is there."""
    wanted = os.environ.get(BASE_VARIABLE)
    for name in (wanted,) if wanted else (SLIM, FROM_DEBIAN):
        if _is_there(client, name):
            return name
    name = wanted or SLIM
    say(f"pulling {name}")
    try:
        with understood():
            client.images.pull(name)
            return name
    except HarnessError as error:
        if wanted:
            raise HarnessError(f"{BASE_VARIABLE} is {wanted}, which cannot be pulled: {error}") from None
        print(f"tracegen: {SLIM} cannot be pulled; the base is made from Debian's packages instead", file=sys.stderr)
    say(f"making {FROM_DEBIAN} from Debian's packages, about a minute")
    _must([str(CHECKOUT / "ci" / "docker-base"), FROM_DEBIAN])
    return FROM_DEBIAN


def _is_from_debian(client: "DockerClient") -> bool:
    return not os.environ.get(BASE_VARIABLE) and not _is_there(client, SLIM)


@dataclass(frozen=True)
class _Told:
    python: str
    platform: str


def _told(client: "DockerClient", image: str) -> _Told:
    """What Python the image has, and for which processor it is."""
    ask = ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    with understood():
        said = client.containers.run(image, ask[1:], entrypoint=ask[0], remove=True, network_mode="none")
        machine = str(client.images.get(image).attrs["Architecture"])
    return _Told(said.decode().strip(), _PLATFORMS.get(machine, machine))


def _is_there(client: "DockerClient", name: str) -> bool:
    from docker.errors import ImageNotFound

    with understood():
        try:
            client.images.get(name)
        except ImageNotFound:
            return False
        return True


def _must(command: Sequence[str]) -> None:
    """Run a command of ours; what it says when it fails is the reason."""
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=BUILD_S)
    if ended.returncode:
        said = (ended.stdout.strip() or ended.stderr.strip()).splitlines()
        raise HarnessError(said[-1] if said else f"{command[0]} ended with exit code {ended.returncode}")


def main() -> int:
    """Build the node's image, and give it a name for people."""
    tag = sys.argv[1] if len(sys.argv) > 1 else "amberio"
    try:
        client = connect()
        found = images(client, lambda text: print(text, file=sys.stderr))
        with understood():
            client.images.get(found.node).tag(tag)
    except HarnessError as error:
        print(f"images: {error}", file=sys.stderr)
        return 2
    print(f"{tag}: {found.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
