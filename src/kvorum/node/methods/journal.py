"""A node's journal, as two known methods show it."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from kvorum.interface import Context, Page, Privilege, Where, method
from kvorum.node import journal
from kvorum.node.methods.models import NodePath, Row

_SYSLOG = Privilege("/nodes/{node}", "Sys.Syslog")
_MOMENT = r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?$"


def _moment(text: str) -> str:
    """Check that a date exists; the pattern alone lets 2026-02-31 pass."""
    datetime.datetime.fromisoformat(text)
    return text


Moment = Annotated[str, Field(pattern=_MOMENT), AfterValidator(_moment)]


class SyslogPart(NodePath):
    start: int = Field(0, ge=0, description="First line, from 0.")
    limit: int = Field(50, ge=0, le=journal.MOST_LINES, description="At most this many lines.")
    since: Moment | None = Field(None, description="Only lines since this date-time.")
    until: Moment | None = Field(None, description="Only lines until this date-time.")
    service: str | None = Field(None, max_length=128, description="Only this service.")


class JournalPart(NodePath):
    since: int | None = Field(None, ge=0, description="Unix time to begin with.")
    until: int | None = Field(None, ge=0, description="Unix time to end with.")
    lastentries: int | None = Field(None, ge=0, description="Only the last so many lines.")
    startcursor: str | None = Field(None, max_length=512, description="Begin after this cursor.")
    endcursor: str | None = Field(None, max_length=512, description="End before this cursor.")


@method("GET", "/nodes/{node}/syslog", permission=_SYSLOG, where=Where.NODE, protected=True)
async def syslog(ctx: Context, p: SyslogPart) -> Page[Row]:
    """Read system log."""
    lines, total = await journal.page(
        p.start, p.limit, since=_stamp(p.since), until=_stamp(p.until), service=p.service
    )
    return Page([{"n": number, "t": text} for number, text in enumerate(lines, p.start + 1)], total)


@method("GET", "/nodes/{node}/journal", permission=_SYSLOG, where=Where.NODE, protected=True)
async def read_journal(ctx: Context, p: JournalPart) -> list[str]:
    """Read Journal: the first line is the first entry's cursor, the last line the last one's."""
    return await journal.span(
        since=p.since,
        until=p.until,
        last=p.lastentries,
        after=p.startcursor,
        before=p.endcursor,
    )


def _stamp(text: str | None) -> float | None:
    return datetime.datetime.fromisoformat(text).timestamp() if text else None
