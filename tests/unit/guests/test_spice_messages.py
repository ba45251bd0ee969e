"""SPICE's messages cut apart, however they arrive."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.guests.console.spice_messages import Messages


def message(size: int, *, mini: bool) -> bytes:
    body = bytes(size)
    return struct.pack("<HI", 103, size) + body if mini else struct.pack("<QHII", 1, 103, size, 0) + body


@given(sizes=st.lists(st.integers(0, 40), max_size=12), cuts=st.sets(st.integers(1, 600)), mini=st.booleans())
def test_no_piece_has_bytes_of_two_messages(sizes: list[int], cuts: set[int], mini: bool) -> None:
    whole, ends = b"", {0}
    for size in sizes:
        whole += message(size, mini=mini)
        ends.add(len(whole))
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    messages = Messages(mini=mini)
    pieces = [piece for at, to in itertools.pairwise(places) for piece in messages.split(whole[at:to])]
    assert b"".join(pieces) == whole and b"" not in pieces
    at = 0
    for piece in pieces:
        assert not any(at < end < at + len(piece) for end in ends), "a message ends inside of a piece"
        at += len(piece)


@pytest.mark.parametrize("mini", [True, False])
def test_what_arrives_of_a_long_message_goes_on_at_once(mini: bool) -> None:
    whole = message(1 << 20, mini=mini)
    assert list(Messages(mini=mini).split(whole[:70000])) == [whole[:70000]]
