"""What an API keeps beside a body comes back from the disk, and rows from before there were attributes still decode."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from impl.model import Ballot, Head, Register
from impl.protocol.change import Change, apply
from impl.storage import database

PAIRS = st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4).map(tuple)


def test_attributes_come_back_with_and_without_an_inline_body(tmp_path: Path) -> None:
    connection = database.open_database(tmp_path / "registers.sqlite")
    for number, body in enumerate((b"hello", None)):
        change = Change("put", "w", etag="e", body=body, attributes=(("x-amz-meta-a", "é"),))
        register = Register(Ballot(1, "n1"), Ballot(1, "n1"), apply(change, None).head)
        with connection:
            database.write(connection, [database.row_of(f"p{number}", 0, register)], [], 0)
        assert database.read(connection, f"p{number}") == register
    connection.close()


@given(PAIRS)
def test_a_tombstone_and_the_next_write_forget_the_attributes_before(pairs: tuple[tuple[str, str], ...]) -> None:
    first = apply(Change("put", "w1", etag="e", attributes=pairs), None).head
    assert first is not None and first.attributes == pairs
    for following in (Change("put", "w2", etag="f"), Change("delete", "w3")):
        head = apply(following, first).head
        assert head is not None and head.attributes == ()


@given(PAIRS)
def test_heads_from_before_there_were_attributes_decode(pairs: tuple[tuple[str, str], ...]) -> None:
    head = Head(1, False, "e", 5, "text/plain", 0, b"hello", (), (), pairs)
    before = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(head))[:9])
    assert msgspec.msgpack.decode(before, type=Head) == msgspec.structs.replace(head, attributes=())
