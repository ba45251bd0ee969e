"""What a terminal's client sends, however it was cut into messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.core.terminal_frames import BadFrame, Frames, Resized, Typed

SENT = b"0:3:a:b1:80:24:20:0:20:2:\r\n"
MEANT = [Typed(b"a:b"), Resized(80, 24), Typed(b""), Typed(b"\r\n")]


@given(st.lists(st.integers(0, len(SENT)), max_size=6))
def test_frames_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    frames, found, before = Frames(), [], 0
    for cut in [*sorted(cuts), len(SENT)]:
        found += frames.feed(SENT[before:cut])
        before = cut
    assert found == MEANT


@pytest.mark.parametrize(
    "sent",
    [
        b"3",
        b"hello",
        b"0:x:a",
        b"0:-1:a",
        b"0:70000:a",
        b"0:9999999999999",
        b"1:0:24:",
        b"1:80:99999:",
        b"0" * 40,
    ],
)
def test_another_protocol_is_refused(sent: bytes) -> None:
    with pytest.raises(BadFrame):
        Frames().feed(sent)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(sent: bytes) -> None:
    frames = Frames()
    try:
        frames.feed(sent)
    except BadFrame as error:
        assert str(error)
