"""When an open file has something to commit, and what is read through it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvorum.store.handles import Handle


def test_a_handle_that_has_written_nothing_has_nothing_to_commit() -> None:
    assert not Handle(2).dirty
    assert Handle(2).seen is None


def test_a_new_or_truncated_file_is_committed_at_release_only() -> None:
    handle = Handle(2, buffer=bytearray(), pending=True)
    assert handle.dirty and not handle.written


def test_what_is_written_goes_over_the_present_content_and_gaps_are_zeros() -> None:
    handle = Handle(2)
    handle.write(1, b"XY", b"abcd")
    assert handle.seen == b"aXYd"
    handle.write(6, b"Z", b"abcd")
    assert handle.seen == b"aXYd\0\0Z"
    handle.truncate(2, b"abcd")
    assert handle.seen == b"aX"
    handle.truncate(4, b"abcd")
    assert handle.seen == b"aX\0\0"


def test_after_a_commit_the_next_write_begins_from_the_file_as_it_is_then() -> None:
    handle = Handle(2)
    handle.write(0, b"a", b"old")
    handle.committed()
    assert handle.seen is None
    handle.write(0, b"b", b"what another node wrote")
    assert handle.seen == b"bhat another node wrote"


def test_a_write_during_a_commit_keeps_what_is_being_committed() -> None:
    """A second process writes through its copy of the handle while the first one's close is on its way."""
    handle = Handle(2)
    handle.write(0, b"first", b"old")
    handle.written, handle.committing = False, True
    assert handle.seen == b"first"
    handle.write(5, b" second", b"old")
    assert handle.seen == b"first second"
    assert handle.written


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=20) | st.none()), max_size=20))
def test_a_handle_is_written_as_a_file_is(steps: list[tuple[int, bytes | None]]) -> None:
    handle, model = Handle(2), bytearray(b"the file's content")
    base = bytes(model)
    for offset, data in steps:
        if data is None:
            handle.truncate(offset, base)
            model = model[:offset] + bytes(max(0, offset - len(model)))
        else:
            handle.write(offset, data, base)
            if data:
                model += bytes(max(0, offset - len(model)))
                model[offset : offset + len(data)] = data
    assert bytes(handle.seen if handle.seen is not None else base) == bytes(model)
