"""The packet filter's rules, without an engine: what each end is told when links are cut or stall."""

from typing import Any

import pytest

from tracegen.backend.docker.links import FilteredWire, PacketFilter
from tracegen.errors import HarnessError


class FakeMachine:
    """Remembers what it was told."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.rules: list[str] = []

    def tell(self, command: str, *arguments: Any) -> int:
        assert command == "filter_packets"
        (self.rules,) = arguments
        return 0


@pytest.fixture
def machines() -> dict[str, FakeMachine]:
    return {"n1": FakeMachine("10.0.0.1"), "n2": FakeMachine("10.0.0.2"), "n3": FakeMachine("10.0.0.3")}


@pytest.fixture
def packets(machines: dict[str, FakeMachine]) -> PacketFilter:
    return PacketFilter(machines)  # type: ignore[arg-type]


def test_a_cut_link_resets_what_its_source_dials_and_nothing_else(
    machines: dict[str, FakeMachine], packets: PacketFilter
) -> None:
    FilteredWire("n1", "n2", packets).cut()
    assert machines["n1"].rules == ["-A OUTPUT -d 10.0.0.2 -p tcp --dport 8080 -j REJECT --reject-with tcp-reset"]
    assert machines["n2"].rules == ["-A OUTPUT -d 10.0.0.1 -p tcp --sport 8080 -j REJECT --reject-with tcp-reset"]
    assert machines["n3"].rules == []


def test_a_stalled_link_drops_all_that_its_source_sends_there(
    machines: dict[str, FakeMachine], packets: PacketFilter
) -> None:
    FilteredWire("n1", "n2", packets).stall()
    assert (machines["n1"].rules, machines["n2"].rules) == (["-A OUTPUT -d 10.0.0.2 -j DROP"], [])


def test_opening_one_link_leaves_the_others_as_they_are(
    machines: dict[str, FakeMachine], packets: PacketFilter
) -> None:
    FilteredWire("n1", "n2", packets).stall()
    FilteredWire("n1", "n3", packets).stall()
    FilteredWire("n1", "n2", packets).open()
    assert machines["n1"].rules == ["-A OUTPUT -d 10.0.0.3 -j DROP"]


def test_what_a_filter_cannot_do_is_said(packets: PacketFilter) -> None:
    with pytest.raises(HarnessError, match="needs the harness's proxy"):
        FilteredWire("n1", "n2", packets).delay(0.1, 0.0, "seed")
