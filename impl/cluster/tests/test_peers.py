"""Peers over real sockets: every question has exactly one answer, whatever happens to the connection."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.cluster import peers as peers_module
from impl.cluster.door import TARGET
from impl.cluster.peers import Peers
from impl.cluster.secret import Secret
from impl.cluster.tests.rig import CLUSTER, SECRET, WAIT_S, Answering, connected, is_up, peers_of, read, until
from impl.cluster.wire import Kind
from impl.doors import RealClock
from impl.errors import AmberioError, NeverWritten, Overloaded, PeerError
from impl.model import Register, Rows
from impl.protocol.messages import Reply, State

TIMEOUT_S = 0.15
PART = bytes(range(256)) * 4096


def tell(story: Callable[[Peers, Answering], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with connected() as (peers, answering):
            await story(peers, answering)

    asyncio.run(run())


class Answers:
    """What came back: every answer of every question."""

    def __init__(self) -> None:
        self.by_question: dict[str, list[Reply | AmberioError]] = {}

    def ask(self, peers: Peers, path: str, timeout_s: float = TIMEOUT_S) -> str:
        name = f"q{len(self.by_question)}"
        answers = self.by_question[name] = []
        peers.start(["n2"], read(path, name), timeout_s, lambda node, reply: answers.append(reply))
        return name

    async def all_in(self) -> None:
        await until(lambda: all(self.by_question.values()))


actions = st.sampled_from(
    ("now", "hold", "never", "release", "release", "server hangs up", "pause", "server restarts", "burst")
)


@settings(max_examples=15, deadline=None)
@given(st.lists(actions, min_size=3, max_size=20))
def test_every_question_is_answered_exactly_once_whatever_the_connection_does(program: list[str]) -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answers = Answers()
        for action in program:
            if action in ("now", "hold", "never"):
                answers.ask(peers, action)
            elif action == "burst":
                for path in ("now", "hold", "never") * 5:
                    answers.ask(peers, path)
            elif action == "release":
                answering.registers.release()
            elif action == "server hangs up":
                answering.server.close()
            elif action == "server restarts":
                await answering.stop()
                await answering.start()
            else:
                await asyncio.sleep(0.03)
        await answers.all_in()
        answering.registers.release()  # too late for most of them
        await asyncio.sleep(0.05)
        assert {len(got) for got in answers.by_question.values()} <= {1}
        for name, (answer,) in answers.by_question.items():
            assert isinstance(answer, PeerError) or (isinstance(answer, State) and answer.event == name)

    tell(story)


def test_an_answer_goes_to_its_own_question_however_late_the_others_are() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answers = Answers()
        names = [answers.ask(peers, path, 5.0) for path in ("hold", "now", "hold", "now")]
        await until(lambda: len(answering.registers.asked) == 4)
        answering.registers.held.reverse()
        answering.registers.release()
        await answers.all_in()
        events = [answer.event for name in names for answer in answers.by_question[name] if isinstance(answer, State)]
        assert events == names

    tell(story)


def test_a_question_times_out_and_its_late_answer_is_nobodys() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answers = Answers()
        began_s = asyncio.get_running_loop().time()
        late = answers.ask(peers, "hold", 0.1)
        await answers.all_in()
        assert 0.1 <= asyncio.get_running_loop().time() - began_s < 1.0
        assert isinstance(answers.by_question[late][0], PeerError)
        answering.registers.release()
        fresh = answers.ask(peers, "now")
        await answers.all_in()
        assert isinstance(answers.by_question[fresh][0], State) and len(answers.by_question[late]) == 1
        assert is_up(peers), "a late answer is no reason to give the connection up"

    tell(story)


def test_without_a_connection_the_answer_is_an_error_at_once() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        await answering.stop()
        await until(lambda: not is_up(peers))
        answers = Answers()
        name = answers.ask(peers, "now", 60.0)
        (answer,) = answers.by_question[name]
        assert isinstance(answer, PeerError) and f"127.0.0.1:{answering.port}" in str(answer)
        assert peers.statuses()["n2"].status == "suspect"
        await answering.start()

    tell(story)


def test_peers_come_back_by_themselves_after_the_other_node_restarted() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        await until(lambda: peers.statuses()["n2"].incarnation == 1)
        await answering.stop()
        await asyncio.sleep(0.1)
        await answering.start()
        await until(lambda: is_up(peers) and peers.statuses()["n2"].incarnation == 2)
        assert peers.statuses()["n2"].status == "healthy"
        answers = Answers()
        answers.ask(peers, "now")
        await answers.all_in()
        assert isinstance(answers.by_question["q0"][0], State)

    tell(story)


@pytest.mark.parametrize(
    ("secret", "cluster"), [("0123456789abcdeX", "c0ffee"), ("0123456789abcdef", "decaf0")], ids=["secret", "cluster"]
)
def test_a_node_with_another_secret_or_of_another_cluster_is_refused(secret: str, cluster: str) -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        stranger = peers_of(answering.port, Secret(secret), cluster)
        stranger.open()
        await asyncio.sleep(0.2)
        assert not is_up(stranger) and stranger.statuses()["n2"].status == "down"
        answers = Answers()
        answers.ask(stranger, "now")
        assert isinstance(answers.by_question["q0"][0], PeerError) and not answering.registers.asked
        await stranger.close()

    tell(story)


def test_a_server_that_does_not_know_the_secret_is_not_believed() -> None:
    async def run() -> None:
        async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nx-amberio-proof: " + b"0" * 64 + b"\r\n\r\n")

        server = await asyncio.start_server(pretend, "127.0.0.1", 0)
        peers = peers_of(server.sockets[0].getsockname()[1])
        peers.open()
        await asyncio.sleep(0.2)
        assert not is_up(peers)
        await peers.close()
        server.close()

    asyncio.run(run())


def test_an_answer_that_cannot_be_read_is_an_error_to_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answers = Answers()
        monkeypatch.setattr(
            answering.server, "_answer", lambda link, number, reply: link.send(Kind.ANSWER, number, b"\x93\x01\x02\x03")
        )
        answers.ask(peers, "now")
        await answers.all_in()
        assert "cannot be read" in str(answers.by_question["q0"][0])

    tell(story)


def test_a_flood_of_questions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "PENDING_MAX", 10)

    async def story(peers: Peers, answering: Answering) -> None:
        answers = Answers()
        for _ in range(12):
            answers.ask(peers, "never")
        refused = [name for name, got in answers.by_question.items() if got and isinstance(got[0], Overloaded)]
        assert refused == ["q10", "q11"]
        await answers.all_in()

    tell(story)


def test_a_silent_connection_is_given_up_and_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers_module.SILENCE_S, "control", 0.2)
    monkeypatch.setattr(peers_module, "PING_S", 0.05)

    async def story(peers: Peers, answering: Answering) -> None:
        dialled = len(answering.dialled)
        await asyncio.sleep(0.5)
        assert len(answering.dialled) == dialled, "a connection on which pongs come is not silent"
        answers = Answers()
        for link in tuple(answering.server._door._links):
            link.pause_receiving(True)
        answers.ask(peers, "now", 30.0)
        await answers.all_in()
        assert "silent" in str(answers.by_question["q0"][0])
        await until(lambda: is_up(peers) and len(answering.dialled) > dialled)

    tell(story)


def test_a_node_that_dials_anew_leaves_no_half_open_connection_behind() -> None:
    async def dial(answering: Answering, channel: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", answering.port)
        headers = SECRET.headers("GET", TARGET, RealClock().now_ms())
        headers |= {
            "x-amberio-cluster": CLUSTER,
            "x-amberio-node": "n7",
            "x-amberio-channel": channel,
            "x-amberio-life": "1",
        }
        lines = [f"GET {TARGET} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def story() -> None:
        answering = Answering()
        await answering.start()
        first, first_writer = await dial(answering, "control")
        other, other_writer = await dial(answering, "bulk")
        assert len(answering.server._door._links) == 2
        again, again_writer = await dial(answering, "control")
        assert await asyncio.wait_for(first.read(), WAIT_S) == b"", "the one that was left is hung up on"
        assert len(answering.server._door._links) == 2
        assert not other.at_eof() and not again.at_eof()
        for writer in (first_writer, other_writer, again_writer):
            writer.close()
        await answering.stop()

    asyncio.run(story())


def test_parts_come_and_go_whole() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        await asyncio.gather(*(peers.put_part("n2", 1, f"d{n}", [PART[:n], PART], 10.0) for n in range(20)))
        assert answering.parts.parts == {f"d{n}": PART[:n] + PART for n in range(20)}
        got = await asyncio.gather(*(peers.get_part("n2", 1, f"d{n}", 10.0) for n in range(20)))
        digests = [hashlib.sha256(b"".join(chunks)).digest() for chunks in got]
        assert digests == [hashlib.sha256(PART[:n] + PART).digest() for n in range(20)]
        with pytest.raises(NeverWritten, match="n2: no part nope"):
            await peers.get_part("n2", 1, "nope", 10.0)

    tell(story)


def test_questions_are_answered_while_parts_wait_for_the_other_nodes_disk() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answering.parts.gate.clear()
        puts = [asyncio.ensure_future(peers.put_part("n2", 1, f"d{n}", [PART] * 8, 20.0)) for n in range(10)]
        await until(lambda: answering.parts.waiting == 4)
        await asyncio.sleep(0.05)
        assert answering.parts.waiting == 4, "so many parts wait for the disk, and the others in the sender"
        answers = Answers()
        for _ in range(100):
            answers.ask(peers, "now", 1.0)
        await answers.all_in()
        assert all(isinstance(got[0], State) for got in answers.by_question.values())
        assert not any(put.done() for put in puts)
        answering.parts.gate.set()
        await asyncio.gather(*puts)
        assert set(answering.parts.parts) == {f"d{n}" for n in range(10)}

    tell(story)


def test_a_part_for_a_node_that_does_not_read_is_given_up_in_time_and_the_next_one_goes_through() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answering.parts.gate.clear()
        puts = [peers.put_part("n2", 1, f"d{n}", [PART] * 8, 0.3) for n in range(10)]
        failures = await asyncio.gather(*puts, return_exceptions=True)
        assert all(isinstance(failure, PeerError) for failure in failures)
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if "send_part" in repr(task)], "none holds its part any more"
        answering.parts.gate.set()
        await until(lambda: is_up(peers))
        await peers.put_part("n2", 1, "next", [PART], 5.0)
        assert answering.parts.parts["next"] == PART

    tell(story)


def test_a_page_of_many_registers_comes_whole() -> None:
    async def story(peers: Peers, answering: Answering) -> None:
        answering.registers.rows = Rows([(f"{number:05}" + "x" * 900, Register()) for number in range(1000)], True)
        assert await peers.scan("n2", "", None, 1000, False, 5.0) == answering.registers.rows

    tell(story)


def test_events_are_out_before_any_byte_that_they_enable() -> None:
    async def run() -> None:
        answering = Answering()
        await answering.start()
        flushed_for: list[int] = []
        peers = peers_of(answering.port, before_bytes=lambda: flushed_for.append(len(answering.registers.asked)))
        peers.open()
        await until(lambda: is_up(peers))
        flushed_for.clear()
        answers = Answers()
        answers.ask(peers, "now")
        await answers.all_in()
        assert flushed_for and flushed_for[0] == 0
        await peers.close()
        await answering.stop()

    asyncio.run(run())


class Scripted:
    """A network whose other side ends the connection in the very moment in which the handshake is over."""

    def __init__(self) -> None:
        self.dials = 0

    async def dial(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        self.dials += 1
        transport, protocol = Closing(), factory()
        protocol.connection_made(transport)
        headers = dict(line.split(": ", 1) for line in transport.written.decode().split("\r\n") if ": " in line)
        proof = Secret("0123456789abcdef").proof("101", headers["x-amberio-time"], headers["x-amberio-proof"])
        protocol.data_received(f"HTTP/1.1 101 Switching Protocols\r\nx-amberio-proof: {proof}\r\n\r\n".encode())
        transport.closing = True
        protocol.connection_lost(None)


class Closing(asyncio.Transport):
    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None


def test_a_connection_that_ends_with_its_handshake_is_not_taken_for_one() -> None:
    async def run() -> None:
        network = Scripted()
        peers = peers_of(1, network=network)
        peers.open()
        await until(lambda: network.dials > 4)
        assert not is_up(peers)
        await peers.close()

    asyncio.run(run())
