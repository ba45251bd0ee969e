"""Calendar events: when a scheduled job runs, such as ``*/15``, ``mon..fri 8..17:0/30`` or ``*-*-01 04:00``.

The form is that of systemd.time(7), ``[WEEKDAYS] [[YEARS-]MONTHS-DAYS] [HOURS:MINUTES[:SECONDS]]``, with
what schedules of jobs allow beyond it: minutes alone (``*/15``), and weekdays or a date alone: midnight.
Pure: an event knows no clock and no time zone, and reckons in the wall time it is given.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LENGTH = 128
YEARS_AHEAD = 30
"""How far ``next_after`` looks: every 29 February that is a certain weekday comes within 28 years."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORDS = {
    "minutely": "*:*",
    "hourly": "*:00",
    "daily": "00:00",
    "weekly": "mon 00:00",
    "monthly": "*-*-1 00:00",
    "quarterly": "*-1,4,7,10-1 00:00",
    "semiannually": "*-1,7-1 00:00",
    "semi-annually": "*-1,7-1 00:00",
    "yearly": "*-1-1 00:00",
    "annually": "*-1-1 00:00",
}
_NUMBERS = re.compile(r"(?P<first>\*|\d+)(?:\.\.(?P<last>\d+))?(?:/(?P<step>\d+))?")

Values = frozenset[int]


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """The moments of a schedule; each field holds what is allowed there, ``years`` ``None`` for any."""

    weekdays: Values
    """0 is Monday."""
    years: Values | None
    months: Values
    days: Values
    hours: Values
    minutes: Values
    seconds: Values

    @classmethod
    def parse(cls, text: str) -> CalendarEvent:
        """Read a schedule; raises ``ValueError`` with a sentence that names the wrong part."""
        if not text.strip() or len(text) > MAX_LENGTH:
            raise ValueError(f"a schedule is 1 to {MAX_LENGTH} characters, such as '*/15' or 'sat 02:00'")
        parts = _WORDS.get(text.strip().lower(), text.strip().lower()).split()
        weekdays: Values | None = None
        date: tuple[Values | None, Values, Values] | None = None
        time: tuple[Values, Values, Values] | None = None
        for part in parts:
            if part[0].isalpha() and weekdays is None and date is None and time is None:
                weekdays = _weekdays(part)
            elif "-" in part and date is None and time is None:
                date = _date(part)
            elif not part[0].isalpha() and time is None:
                time = _time(part)
            else:
                raise ValueError(
                    f"'{part}' in the schedule '{text}' is out of place: "
                    "write [WEEKDAYS] [DATE] [TIME], such as 'mon..fri *-*-1..7 22:30'"
                )
        years, months, days = date or (None, _all(1, 12), _all(1, 31))
        hours, minutes, seconds = time or (frozenset({0}), frozenset({0}), frozenset({0}))
        return cls(weekdays or _all(0, 6), years, months, days, hours, minutes, seconds)

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first moment later than ``moment`` (wall time); ``None`` when none comes in 30 years."""
        earliest = moment.replace(microsecond=0) + datetime.timedelta(seconds=1)
        for day in self._days(earliest.date()):
            start = earliest.time() if day == earliest.date() else datetime.time()
            found = self._first_time(start)
            if found is not None:
                return datetime.datetime.combine(day, found)
        return None

    def _days(self, first: datetime.date) -> Iterator[datetime.date]:
        for year in range(first.year, min(first.year + YEARS_AHEAD, datetime.MAXYEAR)):
            if self.years is not None and year not in self.years:
                continue
            for month in sorted(self.months):
                if (year, month) < (first.year, first.month):
                    continue
                for number in sorted(self.days):
                    try:
                        day = datetime.date(year, month, number)
                    except ValueError:
                        break  # a month without a 31st
                    if day >= first and day.weekday() in self.weekdays:
                        yield day

    def _first_time(self, start: datetime.time) -> datetime.time | None:
        for hour in sorted(h for h in self.hours if h >= start.hour):
            first_minute = start.minute if hour == start.hour else 0
            for minute in sorted(m for m in self.minutes if m >= first_minute):
                at_start = (hour, minute) == (start.hour, start.minute)
                seconds = [s for s in self.seconds if s >= (start.second if at_start else 0)]
                if seconds:
                    return datetime.time(hour, minute, min(seconds))
        return None


def _all(first: int, last: int) -> Values:
    return frozenset(range(first, last + 1))


def _weekdays(text: str) -> Values:
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        begin, end = _weekday(first), _weekday(last if dots else first)
        span = (end - begin) % 7  # sat..mon goes over the weekend
        found |= {(begin + offset) % 7 for offset in range(span + 1)}
    return frozenset(found)


def _weekday(text: str) -> int:
    for number, name in enumerate(_WEEKDAYS):
        if text[:3] == name and text in (name, _FULL_NAMES[number]):
            return number
    raise ValueError(f"'{text}' is no weekday; write {', '.join(_WEEKDAYS)}")


_FULL_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _date(text: str) -> tuple[Values | None, Values, Values]:
    parts = text.split("-")
    if len(parts) > 3:
        raise ValueError(f"'{text}' is no date; write [YEAR-]MONTH-DAY")
    years = None if len(parts) < 3 or parts[0] == "*" else _numbers(parts[0], 1970, 2199, "year")
    return years, _numbers(parts[-2], 1, 12, "month"), _numbers(parts[-1], 1, 31, "day")


def _time(text: str) -> tuple[Values, Values, Values]:
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"'{text}' is no time; write HOUR:MINUTE[:SECOND], or a minute alone")
    if len(parts) == 1:
        return _all(0, 23), _numbers(parts[0], 0, 59, "minute"), frozenset({0})
    seconds = _numbers(parts[2], 0, 59, "second") if len(parts) == 3 else frozenset({0})
    return _numbers(parts[0], 0, 23, "hour"), _numbers(parts[1], 0, 59, "minute"), seconds


def _numbers(text: str, low: int, high: int, what: str) -> Values:
    """The numbers of ``*``, ``N``, ``N..M``, ``*/STEP``, ``N/STEP``, ``N..M/STEP``, and lists of these."""
    found: set[int] = set()
    for part in text.split(","):
        match = _NUMBERS.fullmatch(part)
        if match is None or (match["first"] == "*" and match["last"]):
            raise ValueError(f"'{part}' is no {what}; write a number, a range 8..17, or a step such as */5")
        first = low if match["first"] == "*" else int(match["first"])
        step = int(match["step"]) if match["step"] else 1
        open_end = match["first"] == "*" or match["step"] is not None
        last = int(match["last"]) if match["last"] else (high if open_end else first)
        if not low <= first <= last <= high or step < 1:
            raise ValueError(f"'{part}' is no {what}: use {low} to {high}")
        found |= set(range(first, last + 1, step))
    return frozenset(found)
