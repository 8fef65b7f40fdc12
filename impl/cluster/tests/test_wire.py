"""Frames: whatever was sent, however the network cuts it, comes out whole, in order, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.cluster import wire
from impl.cluster.wire import HEADER, BadFrame, Frame, Frames, Kind, frame
from impl.model import PART_BYTES

WITH_PART = (Kind.PUT_PART, Kind.PART_FOLLOWS)
request_ids = st.integers(0, 0xFFFF_FFFF)
plain = st.tuples(
    st.sampled_from([kind for kind in Kind if kind not in WITH_PART]), request_ids, st.binary(max_size=60), st.none()
)
parts = st.tuples(st.sampled_from(WITH_PART), request_ids, st.just(b""), st.binary(max_size=300))
sent_frames = st.lists(st.one_of(plain, parts), max_size=12)

Sent = tuple[Kind, int, bytes, bytes | None]


def as_sent(sent: list[Sent]) -> tuple[bytes, list[tuple[Kind, int, bytes, bytes]]]:
    """All frames as bytes, and what must come out of them: a part's chunks joined."""
    out: list[bytes] = []
    expected = []
    for kind, request_id, payload, part in sent:
        if part is not None:
            payload = wire.encode(wire.PartHeader(7, "d" * 64, len(part)))
        out.append(frame(kind, request_id, payload) + (part or b""))
        expected.append((kind, request_id, payload, part or b""))
    return b"".join(out), expected


def joined(received: list[Frame]) -> list[tuple[Kind, int, bytes, bytes]]:
    return [(kind, request_id, payload, b"".join(chunks)) for kind, request_id, payload, chunks in received]


@given(sent_frames, st.lists(st.integers(1, 400), max_size=60), st.integers(1, 50))
def test_frames_come_out_as_they_were_sent_however_they_are_cut(sent: list[Sent], cuts: list[int], rest: int) -> None:
    stream, expected = as_sent(sent)
    frames, received, at = Frames(), [], 0
    for size_bytes in [*cuts, *[rest] * len(stream)]:
        if at >= len(stream):
            break
        received += list(frames.feed(stream[at : at + size_bytes]))
        at += size_bytes
    assert joined(received) == expected


@given(sent_frames, st.data())
def test_a_frame_comes_out_with_its_last_byte_and_not_before(sent: list[Sent], data: st.DataObject) -> None:
    stream, expected = as_sent(sent)
    cut = data.draw(st.integers(0, len(stream)))
    frames = Frames()
    before = joined(list(frames.feed(stream[:cut])))
    ends, at = [], 0
    for kind, _, payload, part in expected:
        at += HEADER.size + len(payload) + len(part)
        ends.append((at, kind))
    assert len(before) == sum(1 for end, _ in ends if end <= cut)
    assert before + joined(list(frames.feed(stream[cut:]))) == expected


@pytest.mark.parametrize(
    "stream",
    [
        HEADER.pack(wire.PAYLOAD_BYTES_MAX + 1, 1, Kind.ROWS),
        HEADER.pack(0, 1, 99),
        frame(Kind.PUT_PART, 1, wire.encode(wire.PartHeader(1, "d", PART_BYTES + 1))),
        frame(Kind.PART_FOLLOWS, 1, wire.encode(wire.PartHeader(1, "d", -1))),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["payload too long", "unknown kind", "part too long", "negative part", "HTTP"],
)
def test_what_is_no_frame_of_ours_is_refused(stream: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Frames().feed(stream))
