"""The node's journal, read through libsystemd in a thread that ends at its deadline (sd-journal(3)).

No subprocess. Lines look as ``journalctl`` prints them: ``Nov 28 06:10:00 n1 sshd[711]: text``.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kvorum.core.errors import KvorumError, ParameterError

if TYPE_CHECKING:
    from systemd.journal import Reader  # type: ignore[import-untyped]  # it ships no types

MOST_LINES = 5000
"""A call's lines at most; who wants more asks again."""
DEADLINE_S = 5.0
COUNT_S = 1.0
"""How long lines that nobody sees are counted; ``total`` is then what was counted so far."""


async def page(
    start: int, limit: int, *, since: float | None, until: float | None, service: str | None
) -> tuple[list[str], int]:
    """``limit`` lines from the ``start``-th on, and how many there are. Times are Unix seconds."""
    return await asyncio.to_thread(_page, start, limit or MOST_LINES, since, until, service)


async def span(
    *,
    since: float | None = None,
    until: float | None = None,
    last: int | None = None,
    after: str | None = None,
    before: str | None = None,
) -> list[str]:
    """The lines between two times or cursors, or the last ones; first and last stands a cursor."""
    return await asyncio.to_thread(_span, since, until, last, after, before)


def _page(
    start: int, limit: int, since: float | None, until: float | None, service: str | None
) -> tuple[list[str], int]:
    with _open() as reader:
        if service:
            unit = service if "." in service else f"{service}.service"
            reader.add_match(_SYSTEMD_UNIT=unit)
        if since is not None:
            reader.seek_realtime(since)
        else:
            reader.seek_head()
        lines, number, deadline = [], 0, time.monotonic() + DEADLINE_S
        for entry in _entries(reader, deadline, until):
            number += 1
            if number > start:
                lines.append(line(entry))
            if len(lines) >= limit:
                break
        ends = time.monotonic() + COUNT_S
        for _ in _positions(reader, ends, until):
            number += 1
        return lines, number


def _span(
    since: float | None, until: float | None, last: int | None, after: str | None, before: str | None
) -> list[str]:
    with _open() as reader:
        deadline = time.monotonic() + DEADLINE_S
        first_entry: Mapping[str, object] = {}
        try:
            if last is not None and after is None:
                if last == 0:
                    return []
                first_entry = _seek_last(reader, until, before, min(last, MOST_LINES))
            elif after is not None:
                reader.seek_cursor(after)
                if reader.get_next().get("__CURSOR") != after:
                    reader.seek_cursor(after)  # that entry has been rotated away: begin with the next
            elif since is not None:
                reader.seek_realtime(since)
            else:
                reader.seek_head()
        except (OSError, ValueError) as error:
            name = "startcursor" if after is not None else "endcursor"
            raise ParameterError({name: f"is no cursor of this journal: {error}"}) from error
        found = _entries(reader, deadline, until)
        lines: list[str] = []
        first = end = ""
        for entry in itertools.chain([first_entry] if first_entry else [], found):
            if before is not None and entry["__CURSOR"] == before:
                break
            first, end = first or str(entry["__CURSOR"]), str(entry["__CURSOR"])
            lines.append(line(entry))
            if len(lines) >= MOST_LINES:
                break
        return [first, *lines, end] if lines else []


def _seek_last(reader: Reader, until: float | None, before: str | None, count: int) -> Mapping[str, object]:
    """Go to the first of the last ``count`` entries and return it; nothing in an empty journal."""
    if before is not None:
        reader.seek_cursor(before)
        reader.get_next()
    elif until is not None:
        reader.seek_realtime(until)
    else:
        reader.seek_tail()
    entry: Mapping[str, object] = reader.get_previous(count)
    return entry


def _entries(reader: Reader, deadline: float, until: float | None) -> Iterator[Mapping[str, object]]:
    while entry := reader.get_next():
        moment = entry["__REALTIME_TIMESTAMP"]
        if until is not None and moment.timestamp() > until:
            return
        yield entry
        if time.monotonic() > deadline:
            return


def _positions(reader: Reader, ends: float, until: float | None) -> Iterator[None]:
    while reader._next() and time.monotonic() < ends:
        if until is not None and reader._get_realtime() / 1e6 > until:
            return
        yield


@contextlib.contextmanager
def _open() -> Iterator[Reader]:
    try:
        from systemd.journal import Reader

        reader = Reader()
    except (ImportError, OSError) as error:
        raise KvorumError(f"this node's journal can't be read: {error}") from error
    with reader:
        yield reader


def line(entry: Mapping[str, object]) -> str:
    """An entry as one line of text; what is no text is named by its size."""
    moment = entry.get("__REALTIME_TIMESTAMP")
    when = moment.strftime("%b %d %H:%M:%S") if isinstance(moment, datetime.datetime) else "-"
    who = _text(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "unknown")
    pid = entry.get("_PID") or entry.get("SYSLOG_PID")
    said = _text(entry.get("MESSAGE", ""))
    return f"{when} {_text(entry.get('_HOSTNAME', '-'))} {who}{f'[{pid}]' if pid else ''}: {said}"


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return f"[{len(value)}B blob data]"
    if isinstance(value, uuid.UUID):
        return value.hex
    return str(value).replace("\n", " ") if not isinstance(value, list) else _text(value[0] if value else "")
