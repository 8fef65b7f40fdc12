"""The S3 clients that people use, run as they run them; and what the tests of all of them need.

`ci/clients/install` brings the clients, each test file does one client's job and this is what they share: where the
job is done (`Place`: one node, or three of which one is killed midway), how much there is to do (`SIZES`), trees of
files, and what a bucket really holds, asked by another client.

CLIENT_JOBS=full makes the jobs as large as people's are (`make clients`); else they are small, for every run of the
suite.
"""

import hashlib
import itertools
import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3.session
import botocore.config
import pytest

from integration.cluster import running
from integration.s3_cluster import KEYS, S3Nodes, cluster
from integration.tripwire import Tripwire

ROOT = Path(__file__).resolve().parent.parent
KEY_ID = "AKIAALICE"
JOB_S = 900.0
MIB = 1024 * 1024
AWKWARD = (
    "a b", "a+b", "a%20b", "100%", "größe", "日本語", "e\u0301", "\u00e9", "&<>\"'", "q?x=1", "h#sh", "semi;colon",
    "[brackets]", "{curly}", "back\\slash", "star*", "~tilde", "=eq", "@at", ",comma", "$dollar", "!bang", ".hidden",
    "colon:", "x" * 200,
)  # fmt: skip
"""Names of files that clients and servers have got wrong."""


@dataclass(frozen=True)
class Sizes:
    """How much a job is: files in a tree, bytes of the large object, reads at random, races and racers in each.

    Where nodes are killed, one is killed in `every_job`, or in the first of a test, and is dead for its others.
    """

    files: int
    large_bytes: int
    reads: int
    races: int
    racers: int
    every_job: bool


COMPACT = Sizes(files=60, large_bytes=24 * MIB + 17, reads=24, races=3, racers=6, every_job=False)
FULL = Sizes(files=2000, large_bytes=1024 * MIB, reads=500, races=25, racers=12, every_job=True)
SIZES = {"compact": COMPACT, "full": FULL}[os.environ.get("CLIENT_JOBS", "compact")]


# -- where the job is done


@dataclass
class Place:
    """A cluster, and whether one of its nodes is killed in the middle of each job."""

    nodes: S3Nodes
    kills: bool
    dead: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    """URLs of the nodes that this job will not lose, besides the one that `midway` gave."""
    held: dict[str, frozenset[str]] = field(default_factory=dict)
    """The keys of each bucket that the dead have yet to tell."""

    def __str__(self) -> str:
        return f"{len(self.nodes.names)} nodes, one killed" if self.kills else "one node"

    @property
    def living(self) -> list[str]:
        return [name for name in self.nodes.names if name not in self.dead]

    @property
    def urls(self) -> list[str]:
        """Of all nodes that live."""
        return [self.url(node) for node in self.living]

    def url(self, node: str) -> str:
        return f"http://127.0.0.1:{self.nodes.ports[node]}"

    def client(self, node: str | None = None) -> Any:
        """A boto3 client of a node that lives."""
        return boto3_at(self.url(node or self.living[0]))

    @contextmanager
    def midway(self, bucket: str, keys: Iterable[str], after_bytes: int) -> Iterator[str]:
        """The URL to do a job at. If this place kills: the node that most of the keys prefer, by SIGKILL, when
        `after_bytes` have passed; and the URL is of another node, as clients know one. It is dead until `revive`.
        """
        if SIZES.every_job:
            self.revive()
        if not self.kills or self.dead:
            yield self.urls[0]
            return
        sample = list(keys)[:: max(1, len(list(keys)) // 50)]
        preferred = Counter(self.nodes.replicas(f"{bucket}/{key}")[0] for key in sample)
        victim = preferred.most_common(1)[0][0]
        survivor, *others = [name for name in self.nodes.names if name != victim]
        self.spared = [self.url(name) for name in others]

        tripwire = Tripwire(self.nodes.ports[survivor], after_bytes, lambda: self.kill(victim))
        try:
            yield f"http://127.0.0.1:{tripwire.port}"
            assert self.dead == [victim], f"the job ended before {after_bytes} bytes had passed: nothing was killed"
            assert tripwire.beyond_bytes > 0, "nothing was left to do when the node was killed"
        finally:
            tripwire.close()

    def kill(self, node: str) -> None:
        self.nodes.kill(node)
        self.dead.append(node)

    def holds(self, bucket: str, expected: Mapping[str, str]) -> None:
        """The bucket holds these keys with these MD5s and no others: by its lists through every node (through one that
        is dead once it is back), and by the bytes that a node sends which lived throughout.
        """
        for node in self.living:
            assert_same(listed(self.client(node), bucket), expected.keys())
        assert_same(digests(self.client(), bucket), expected)
        self.held[bucket] = frozenset(expected)

    def revive(self) -> None:
        """Start again whoever is dead, and see that it tells what it has missed."""
        if self.dead:
            self.nodes.start(*self.dead)
            for node, (bucket, keys) in itertools.product(self.dead, self.held.items()):
                assert_same(listed(self.client(node), bucket), keys)
            self.dead.clear()
        self.held.clear()

    @contextmanager
    def figure(self, client: str, what: str, size_bytes: int, objects: int = 1) -> Iterator[None]:
        """Print how long what is done inside took."""
        began_s = time.monotonic()
        yield
        took_s = time.monotonic() - began_s
        rate = size_bytes / MIB / took_s
        print(f"\n{client:9} {self!s:20} {what:34} {objects:5} x {size_bytes:13,} B {took_s:8.2f} s {rate:8.1f} MiB/s")


PLACES = {"one": (1, False), "three-one-killed": (3, True)}
on_one_node = pytest.mark.parametrize("started", ["one"], indirect=True)
on_three_nodes = pytest.mark.parametrize("started", ["three-one-killed"], indirect=True)


@pytest.fixture(scope="module", params=PLACES)
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    count, kills = PLACES[request.param]
    root = tmp_path_factory.mktemp(request.param)
    with running(cluster(root, count)) as nodes:
        assert isinstance(nodes, S3Nodes)
        yield Place(nodes, kills)
    subprocess.run(["rm", "-rf", str(root / "disks")], check=True)  # a full run's would be kept for three runs


@pytest.fixture
def place(started: Place) -> Iterator[Place]:
    """Everybody lives when a test begins, and after it."""
    started.revive()
    yield started
    started.revive()


@pytest.fixture
def bucket(place: Place, request: pytest.FixtureRequest) -> str:
    name = f"b-{hashlib.md5(request.node.name.encode()).hexdigest()[:12]}"
    place.client().create_bucket(Bucket=name)
    return name


# -- what there is


def plant(root: Path, count: int, seed: int = 1) -> dict[str, str]:
    """A tree of files under `root`: their names below it, and their MD5s. Names are awkward, sizes 0 to 64 KiB."""
    chance = random.Random(seed)
    root.mkdir(parents=True, exist_ok=True)
    planted = {}
    for number in range(count):
        folder = root / f"folder {number % 7}" / AWKWARD[number // 7 % len(AWKWARD)] if number % 3 else root
        name = AWKWARD[number] if number < len(AWKWARD) else f"{number:06}"
        size_bytes = (0, 1, chance.randrange(64 * 1024), chance.randrange(8 * 1024))[number % 4]
        body = chance.randbytes(size_bytes)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
        planted[(folder / name).relative_to(root).as_posix()] = hashlib.md5(body).hexdigest()
    return planted


def alter(root: Path, planted: dict[str, str]) -> tuple[set[str], set[str], set[str]]:
    """Change, add and remove a few files of a tree; what `plant` told is brought up to date.

    The changed, the added, the removed. A changed file has its size changed, too: the clients may look at no more.
    """
    names = sorted(planted)
    changed, removed, added = set(names[1:30:7]), set(names[2:30:7]), {"new", "folder 1/a+b/new & more"}
    for name in removed:
        (root / name).unlink()
        del planted[name]
    for name in changed | added:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with (root / name).open("ab") as file:
            file.write(b"altered")
        planted[name] = md5_of(root / name)
    return changed, added, removed


def tree(root: Path) -> dict[str, str]:
    """The files under `root` and their MD5s, as `plant` tells them."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def size_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def large_file(path: Path, size_bytes: int, seed: int = 1) -> str:
    """Write a file that cannot be compressed; its MD5."""
    chance, digest = random.Random(seed), hashlib.md5()
    with path.open("wb") as file:
        for start in range(0, size_bytes, 16 * MIB):
            piece = chance.randbytes(min(16 * MIB, size_bytes - start))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def md5s_of(path: Path, pieces: Iterable[tuple[int, int]]) -> list[str]:
    """The MD5s of pieces (start, length) of a file."""
    found = []
    with path.open("rb") as file:
        for start, length in pieces:
            file.seek(start)
            found.append(hashlib.md5(file.read(length)).hexdigest())
    return found


def spans(size_bytes: int, count: int, seed: int = 1) -> list[tuple[int, int]]:
    """`count` pieces of an object as (start, length), some of a byte, some at its ends; none is empty."""
    chance = random.Random(seed)
    found = [(0, 1), (size_bytes - 1, 1), (0, min(size_bytes, 4096))]
    while len(found) < count:
        start = chance.randrange(size_bytes)
        found.append((start, min(size_bytes - start, 1 + chance.randrange(256 * 1024))))
    return found


def listed(client: Any, bucket: str) -> set[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", ())}


def digests(client: Any, bucket: str) -> dict[str, str]:
    """Every key of a bucket, and the MD5 of the bytes that a GET brings."""
    found = {}
    for key in listed(client, bucket):
        digest = hashlib.md5()
        for piece in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(MIB):
            digest.update(piece)
        found[key] = digest.hexdigest()
    return found


def assert_same(found: Any, expected: Any) -> None:
    """Equal; and if not, the few names that differ instead of thousands that do not."""
    found, expected = (side if isinstance(side, dict) else dict.fromkeys(side) for side in (found, expected))
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    assert not (missing or more or other), f"missing {some(missing)}, more {some(more)}, other bytes {some(other)}"


def some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"{len(ordered)}: {ordered[:5]}"


# -- the clients


@cache
def installed() -> Path:
    """Where the clients' environments are; those that are missing are made."""
    done = subprocess.run([ROOT / "ci/clients/install"], stdout=subprocess.PIPE, text=True, timeout=JOB_S, check=True)
    return Path(done.stdout.strip())


def tool(name: str) -> str:
    """The path of a client's command."""
    return str(installed() / "tools/bin" / name)


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command prints. Raises AssertionError with all that it said if it fails."""
    done = attempt(*command, env=env, cwd=cwd)
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout


def attempt(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is. Of this process's environment it sees where programs are, no more."""
    whole = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | dict(env or {})
    return subprocess.run(
        [str(word) for word in command], env=whole, cwd=cwd, capture_output=True, text=True, timeout=JOB_S
    )


def library(job: str, **arguments: Any) -> Any:
    """Do a job of integration/client_jobs, as `<client>.<function>`, in the environment that has its client.

    Arguments and result are JSON. So a client that needs another botocore than ours never meets ours.
    """
    client, function = job.split(".")
    python = installed() / "libraries/bin/python"
    script = ROOT / "integration/client_jobs" / f"{client}_jobs.py"
    with tempfile.TemporaryDirectory() as home:
        said = run(python, script, function, json.dumps(arguments), env={"HOME": home, "POLARS_TEMP_DIR": home})
    return json.loads(said.splitlines()[-1])


@cache
def boto3_at(url: str) -> Any:
    """A boto3 client, path style, that signs URLs as of version 4; else it is as it comes: it tries four times more."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=KEYS[KEY_ID],
        region_name="us-east-1",
        config=botocore.config.Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
    )


def keys_of(**more: str) -> dict[str, str]:
    """The access key, as the AWS SDKs and most others read it from the environment."""
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": KEYS[KEY_ID],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


def large_there_and_back(client: str, place: Place, bucket: str, room: Path) -> None:
    """A large object goes up in pieces, comes down, and is read at random, by the client's jobs of these names."""
    large_bytes, key = SIZES.large_bytes, "large one"
    md5, named = large_file(room / "up", large_bytes), {"bucket": bucket, "key": key}
    with place.midway(bucket, [key], large_bytes // 2) as url, place.figure(client, "large up", large_bytes):
        library(f"{client}.large_up", url=url, path=str(room / "up"), **named)
    place.holds(bucket, {key: md5})
    with place.midway(bucket, [key], large_bytes // 2) as url, place.figure(client, "large down", large_bytes):
        library(f"{client}.large_down", url=url, path=str(room / "down"), **named)
    assert md5_of(room / "down") == md5
    pieces = spans(large_bytes, SIZES.reads)
    asked = sum(length for _, length in pieces)
    with place.midway(bucket, [key], asked // 2) as url, place.figure(client, "reads at random", asked, len(pieces)):
        found = library(f"{client}.reads", url=url, spans=pieces, **named)
    assert found == md5s_of(room / "up", pieces)
