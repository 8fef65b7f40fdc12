"""Nodes that die, hang, stop and come back: what was acknowledged is there, and what is unknown is called so."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from impl.tests.schema import SCHEMA, faults
from integration.cluster import SECRET, Nodes, Reply, blob, running

NAMES = ("n1", "n2", "n3")
LARGE = bytes(range(256)) * 40_000
REQUEST_S = 1.5


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes that trace, so that completing a killed one's trace is part of every start."""
    root = tmp_path_factory.mktemp("restart")
    with running(Nodes(root, 3, limits={"request_s": REQUEST_S}, trace=True)) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def all_there_again(nodes: Nodes) -> Iterator[None]:
    """However a test leaves the cluster, the next one finds three nodes."""
    yield
    dead = [name for name in NAMES if name not in nodes._processes]
    if dead:
        nodes.start(*dead)


def write_some(nodes: Nodes, prefix: str, count: int) -> dict[str, bytes]:
    """Write small and large objects through all nodes that run: what was acknowledged."""
    acknowledged = {}
    for number, node in zip(range(count), itertools.cycle(sorted(nodes._processes)), strict=False):
        path, body = f"{prefix}/{number}", b"%d" % number if number % 5 else LARGE + b"%d" % number
        assert nodes.put(node, path, body).status == 201
        acknowledged[path] = body
    return acknowledged


def assert_all_there(nodes: Nodes, acknowledged: dict[str, bytes], *readers: str) -> None:
    for path, body in acknowledged.items():
        for reader in readers:
            got = nodes.get(reader, path)
            assert (got.status, got.body == body) == (200, True), (path, reader, got.status)


def test_with_one_node_dead_everything_goes_on_at_the_others(nodes: Nodes) -> None:
    for victim in ("n1", "n3"):
        before = write_some(nodes, f"before-{victim}", 10)
        nodes.kill(victim)
        others = [name for name in NAMES if name != victim]
        meanwhile = write_some(nodes, f"without-{victim}", 10)
        assert_all_there(nodes, before | meanwhile, *others)
        for name in others:
            items = nodes.page(name, prefix=f"without-{victim}/")["items"]
            assert {item["path"] for item in items} == set(meanwhile)
        nodes.start(victim)
        # the node that was away serves what was written without it
        assert_all_there(nodes, before | meanwhile, victim)
        assert {item["path"] for item in nodes.page(victim, prefix=f"without-{victim}/")["items"]} == set(meanwhile)


def test_without_a_quorum_every_answer_says_what_became_of_the_request(nodes: Nodes) -> None:
    nodes.put("n1", "quorumless", b"before")
    nodes.kill("n2")
    nodes.kill("n3")
    for method, body in (("GET", None), ("PUT", b"x"), ("PUT", LARGE), ("DELETE", None)):
        began_s = time.monotonic()
        reply = nodes.ask("n1", method, blob("quorumless"), body)
        assert reply.status == 503 and reply.headers["retry-after"] == "1"
        assert reply.headers["x-amberio-outcome"] in ("failed", "unknown")
        assert reply.code in ("NoQuorum", "OutcomeUnknown")
        assert (reply.code == "OutcomeUnknown") == (reply.headers["x-amberio-outcome"] == "unknown")
        assert time.monotonic() - began_s < REQUEST_S + 2
    assert nodes.ask("n1", "GET", "/_/api/v1/blobs?prefix=quorumless").status == 503
    assert nodes.ask("n1", "GET", "/_/api/v1/healthz").status == 200
    nodes.start("n2", "n3")
    got = nodes.get("n2", "quorumless")
    # a write that failed did not happen; one whose outcome was unknown may have
    assert got.status == 410 or got.body in (b"before", b"x", LARGE)


def test_a_write_that_certainly_failed_is_never_seen_afterwards(nodes: Nodes) -> None:
    # the preferred node of a path accepts its first write before it asks the others, so these two differ
    preferred = next(path for n in range(99) if nodes.replicas(path := f"failed/{n}")[0] == "n1")
    another = next(path for n in range(99) if nodes.replicas(path := f"failed/{n}")[0] != "n1")
    nodes.kill("n2")
    nodes.kill("n3")
    outcomes = {
        path: nodes.put("n1", path, b"perhaps", x_amberio_write_id=path).headers["x-amberio-outcome"]
        for path in (preferred, another)
    }
    assert outcomes == {preferred: "unknown", another: "failed"}
    nodes.start("n3")  # not n2: a quorum now has n1 in it, and with it whatever n1 knows
    assert nodes.get("n3", another).status == 404
    assert nodes.get("n3", preferred).body == b"perhaps"
    for path in (preferred, another):
        again = nodes.put("n3", path, b"perhaps", x_amberio_write_id=path)
        assert again.json["generation"] == 1


def test_a_retry_after_the_coordinator_was_killed_has_the_first_outcome(nodes: Nodes) -> None:
    for number in range(4):
        path, write_id = f"retried/{number}", f"retry-{number}"
        outcome: list[Reply] = []

        def put(path: str = path, write_id: str = write_id, outcome: list[Reply] = outcome) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # killed before it could answer
                outcome.append(nodes.put("n1", path, b"mine", x_amberio_write_id=write_id))

        writing = threading.Thread(target=put)
        writing.start()
        time.sleep(0.003 * number)
        nodes.kill("n1")
        writing.join()
        again = nodes.put("n2", path, b"mine", x_amberio_write_id=write_id)
        assert again.status in (200, 201) and again.json["generation"] == 1
        if outcome and outcome[0].status == 201:
            assert again.json["idempotent_replay"] and again.json["etag"] == outcome[0].json["etag"]
        nodes.put("n3", path, b"later")
        nodes.start("n1")
        third = nodes.put("n1", path, b"mine", x_amberio_write_id=write_id)
        assert (third.status, third.json["generation"]) == (200, 1)
        assert nodes.get("n2", path).body == b"later"


def test_under_load_no_kill_loses_a_write_or_lets_a_read_go_back(nodes: Nodes) -> None:
    """One writer a path counts up, at any node that answers; two kills meanwhile; what it saw acknowledged is there."""
    stop = threading.Event()
    acknowledged = {f"loaded/{number}": 0 for number in range(6)}

    def count_up(path: str, start: int) -> None:
        value = 0
        for attempt in itertools.count(start):
            if stop.is_set():
                return
            try:
                reply = nodes.put(NAMES[attempt % 3], path, b"%d" % (value + 1), x_amberio_write_id=f"{path}-{value}")
                if reply.status in (200, 201):
                    value += 1
                    acknowledged[path] = value
                got = nodes.get(NAMES[(attempt + 1) % 3], path)
                if got.status == 200:
                    assert int(got.body) >= value, "a read went back in time"
            except (OSError, http.client.HTTPException):
                pass  # the node that was asked is the dead one

    failures: list[BaseException] = []

    def guarded(path: str, start: int) -> None:
        try:
            count_up(path, start)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(path, n)) for n, path in enumerate(acknowledged)]
    for thread in threads:
        thread.start()
    for victim in ("n3", "n1"):
        time.sleep(0.7)
        nodes.kill(victim)
        time.sleep(0.5)
        nodes.start(victim)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    for path, value in acknowledged.items():
        assert value > 20, "the load went on"
        # the last write of each may have been cut off after it took effect
        assert int(nodes.get("n2", path).body) in (value, value + 1)


def test_a_node_that_hangs_is_gone_around_and_comes_back(nodes: Nodes) -> None:
    os.kill(nodes.pid("n3"), signal.SIGSTOP)
    try:
        meanwhile = {}
        for number in range(6):
            body = LARGE + b"%d" % number if number % 3 == 0 else b"%d" % number
            assert nodes.put(("n1", "n2")[number % 2], f"hung/{number}", body).status == 201
            meanwhile[f"hung/{number}"] = body
        assert_all_there(nodes, meanwhile, "n1", "n2")
        assert len(nodes.page("n1", prefix="hung/")["items"]) == 6
    finally:
        os.kill(nodes.pid("n3"), signal.SIGCONT)
    until(lambda: nodes.get("n3", "hung/1").status == 200)
    assert_all_there(nodes, meanwhile, "n3")


def test_every_start_is_a_new_incarnation_with_a_trace_of_its_own(nodes: Nodes) -> None:
    before = nodes.ask("n2", "GET", "/_/api/v1/healthz").json["incarnation"]
    nodes.kill("n2")
    nodes.start("n2")
    assert nodes.stop("n2") == 0
    nodes.start("n2")
    health = nodes.ask("n2", "GET", "/_/api/v1/healthz").json
    assert health["incarnation"] == before + 2
    for number, has_stop in ((before, False), (before + 1, True)):
        lines = (nodes.root / "traces" / f"n2.{number}.ndjson").read_text().splitlines()
        assert '"event":"Start"' in lines[0] and ('"event":"Stop"' in lines[-1]) == has_stop
    until(lambda: all(seen_from(nodes, name)["n2"] == ("healthy", before + 2) for name in ("n1", "n3")))


def test_a_node_that_is_told_to_stop_finishes_what_was_asked_and_exits_with_0(nodes: Nodes) -> None:
    nodes.put("n1", "download", LARGE)
    idle = http.client.HTTPConnection("127.0.0.1", nodes.ports["n1"], timeout=10)
    idle.request("GET", "/_/api/v1/healthz")
    idle.getresponse().read()
    sent, more = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield LARGE[:1_000_000]
        sent.set()
        more.wait(10)
        yield LARGE[1_000_000:]

    uploaded: list[Reply] = []

    def upload() -> None:
        headers = {"Content-Length": str(len(LARGE))}
        uploaded.append(nodes.ask("n1", "PUT", blob("upload"), pieces(), headers))

    uploading = threading.Thread(target=upload)
    uploading.start()
    sent.wait(10)
    process = nodes._processes["n1"]
    process.send_signal(signal.SIGTERM)
    until(lambda: not accepts(nodes, "n1"))
    assert process.poll() is None, "it waits for the upload"
    more.set()
    uploading.join()
    assert uploaded[0].status == 201
    assert nodes.stop("n1") == 0
    assert '"event": "stopped"' in nodes.log("n1") or '"event":"stopped"' in nodes.log("n1")
    assert nodes.get("n2", "upload").body == LARGE
    idle.close()


def test_the_traces_of_all_these_lives_are_whole_valid_and_name_only_causes_that_are_there(nodes: Nodes) -> None:
    ids: set[str] = set()
    causes: set[str] = set()
    files = sorted((nodes.root / "traces").iterdir())
    assert len(files) > len(NAMES), "some of them were killed before"
    for file in files:
        node, incarnation, _ = file.name.split(".")
        lines = [json.loads(line) for line in file.read_bytes().splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        commits = [line["commit"] for line in lines if "commit" in line]
        assert commits == list(range(1, len(commits) + 1))
        for line in lines:
            assert list(faults(line, SCHEMA["$defs"][line["event"]])) == []
            causes.update(line.get("cause", ()))
        ids.update(f"{node}.{incarnation}.{line['seq']}" for line in lines)
    # whoever was told of an event was told after it was out, also by a node that died right then
    assert causes and causes <= ids


def test_no_log_has_the_secret_or_a_stack_trace(nodes: Nodes) -> None:
    for name in NAMES:
        assert SECRET not in nodes.log(name)
        assert "Traceback" not in nodes.log(name)


def seen_from(nodes: Nodes, node: str) -> dict[str, tuple[str, int]]:
    listed = nodes.ask(node, "GET", "/_/api/v1/nodes").json["nodes"]
    return {item["node_id"]: (item["status"], item["incarnation"]) for item in listed}


def accepts(nodes: Nodes, node: str) -> bool:
    try:
        nodes.ask(node, "GET", "/_/api/v1/healthz", timeout_s=2)
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not become true in time"
        time.sleep(0.02)
