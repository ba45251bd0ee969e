"""Schedules of jobs."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.core.calendar_event import CalendarEvent

SATURDAY = datetime.datetime(2026, 11, 28, 5, 29, 30)


@pytest.mark.parametrize(
    ("schedule", "following"),
    [
        ("*/15", ["2026-11-28 05:30:00", "2026-11-28 05:45:00"]),
        ("*", ["2026-11-28 05:30:00", "2026-11-28 05:31:00"]),
        ("mon..fri", ["2026-11-30 00:00:00", "2026-12-01 00:00:00"]),
        ("sat..mon 6:00", ["2026-11-28 06:00:00", "2026-11-29 06:00:00"]),
        ("mon..wed 30/10", ["2026-11-30 00:30:00", "2026-11-30 00:40:00"]),
        ("mon..fri 8..17,22:0/15", ["2026-11-30 08:00:00", "2026-11-30 08:15:00"]),
        ("fri 12..13:5/20", ["2026-12-04 12:05:00", "2026-12-04 12:25:00"]),
        ("12,14:5", ["2026-11-28 12:05:00", "2026-11-28 14:05:00"]),
        ("Sat *-1..7 15:00", ["2026-12-05 15:00:00", "2027-01-02 15:00:00"]),
        ("*-05", ["2026-12-05 00:00:00", "2027-01-05 00:00:00"]),
        ("2027-02-03 04:05:06", ["2027-02-03 04:05:06"]),
        ("*-02-29", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("monthly", ["2026-12-01 00:00:00", "2027-01-01 00:00:00"]),
        ("saturday 05:29:30", ["2026-12-05 05:29:30"]),
    ],
)
def test_the_next_moments_are_later_than_now_and_in_order(schedule: str, following: list[str]) -> None:
    moment: datetime.datetime | None = SATURDAY
    for expected in following:
        assert moment is not None
        moment = CalendarEvent.parse(schedule).next_after(moment)
        assert str(moment) == expected


@pytest.mark.parametrize(
    ("schedule", "names"),
    [
        ("", "1 to 128"),
        ("fry", "'fry' is no weekday"),
        ("25:00", "'25' is no hour: use 0 to 23"),
        ("8:00 9:00", "'9:00' .* out of place"),
        ("*/0", "'\\*/0' is no minute"),
        ("1-2-3-4", "is no date"),
        ("*-13-01", "'13' is no month"),
        ("12:00 mon", "'mon' .* out of place"),
    ],
)
def test_a_wrong_schedule_is_refused_by_naming_the_part(schedule: str, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        CalendarEvent.parse(schedule)


def test_a_moment_that_never_comes_is_none() -> None:
    assert CalendarEvent.parse("*-02-30").next_after(SATURDAY) is None
    assert CalendarEvent.parse("2020-01-01").next_after(SATURDAY) is None


@given(st.text(alphabet="montue0123456789*/-,.: ", max_size=20))
def test_any_text_is_a_schedule_or_a_sentence(text: str) -> None:
    try:
        event = CalendarEvent.parse(text)
    except ValueError as error:
        assert str(error)
    else:
        found = event.next_after(SATURDAY)
        assert found is None or found > SATURDAY
