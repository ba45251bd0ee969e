import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.lab.demo import Report, show
from kvorum.lab.demo_figures import Chunk, Leg, audit, counts, downtime_ms, longest_gap_s, round_trip
from kvorum.lab.demo_watch import in_order

LEG = Leg("n1", "n2", 1.5, 6.0, 40.0, 0, 0)
GOOD = Report((LEG,), 100, 0, 0, 1000, 998, True, True)


@given(st.integers(1, 30), st.lists(st.integers(1, 12), max_size=40), st.integers(0, 1000))
def test_a_stream_cut_anywhere_and_read_at_several_nodes_is_one_again(
    amount: int, cuts: list[int], seed: int
) -> None:
    text = b"SeaBIOS\r\n\x1b[2Jpulse boot 1 from 0 after 3 ms\r\n"
    text += b"".join(b"count %d\r\n" % n for n in range(1, amount + 1))
    chunks, at = [], 0
    for number, size in enumerate([*cuts, len(text)]):
        chunks.append(Chunk(float(number), text[at : at + size]))
        at += size
    random.Random(seed).shuffle(chunks)
    assert counts(chunks) == list(range(1, amount + 1))


def test_half_a_line_is_no_count() -> None:
    assert counts([Chunk(0, b"count 1\r\ncount 12")]) == [1]
    assert counts([Chunk(0, b"count 1\r\nXcount 2\r\n")]) == [1]


def test_what_is_lost_doubled_or_out_of_order_is_told() -> None:
    whole = audit([3, 4, 5])
    assert whole.whole and (whole.first, whole.last) == (3, 5)
    found = audit([1, 2, 4, 4, 7, 6])
    assert (found.lost, found.repeated, found.disordered) == ((3, 5), (4,), True)
    assert not found.whole
    with pytest.raises(ValueError, match="no count"):
        audit([])


def test_the_longest_gap_counts_silence_at_the_edges_too() -> None:
    assert longest_gap_s([1.0, 1.5, 3.0], 0.9, 3.1) == 1.5
    assert longest_gap_s([1.0], 1.0, 5.0) == 4.0
    assert longest_gap_s([], 1.0, 2.0) == 1.0
    assert longest_gap_s([0.0, 9.0], 4.0, 5.0) == 1.0


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 5), st.floats(6, 10))
def test_a_gap_is_never_longer_than_its_window(arrivals: list[float], begin: float, end: float) -> None:
    assert 0 < longest_gap_s(arrivals, begin, end) <= end - begin


@pytest.mark.parametrize(
    ("log", "figure"),
    [
        ("migration finished successfully (duration 1.2 s), downtime 6 ms\n", 6.0),
        ("downtime: 12.5 ms\nx\ndowntime 7 ms", 7.0),
        ("nothing", None),
    ],
)
def test_the_downtime_is_read_from_the_log(log: str, figure: float | None) -> None:
    assert downtime_ms(log) == figure


def test_the_guest_goes_to_every_node_and_back() -> None:
    assert round_trip(["n1", "n2", "n3"]) == [("n1", "n2"), ("n2", "n3"), ("n3", "n1")]
    assert round_trip(["n1"]) == []


def test_a_counter_that_goes_back_is_noticed() -> None:
    assert in_order([(0.0, 1), (1.0, 1), (2.0, 5)])
    assert not in_order([(0.0, 5), (1.0, 4)])


@pytest.mark.parametrize(
    "changes",
    [
        {"counts_lost": 1},
        {"counts_repeated": 1},
        {"http_in_order": False},
        {"disks_in_order": False},
        {"legs": ()},
        {"legs": (LEG, Leg("n2", "n1", 1, None, 1, 0, 0, "target died"))},
    ],
)
def test_any_loss_or_failure_makes_the_demonstration_fail(changes: dict[str, object]) -> None:
    from dataclasses import replace

    assert GOOD.good
    assert not replace(GOOD, **changes).good  # type: ignore[arg-type]


def test_the_table_shows_every_leg(capsys: pytest.CaptureFixture[str]) -> None:
    show(GOOD)
    out = capsys.readouterr().out
    for word in ("n1", "n2", "1.50 s", "6 ms", "40 ms", "998 of 1000"):
        assert word in " ".join(out.split())
