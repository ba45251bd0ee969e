"""What the daemons log of requests that are none: one line each with the client's address, and not too many.

The HTTP library logs a traceback for every one of them; anybody who reaches the port could fill the journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

LINES = 10
PERIOD_S = 60.0
"""At most ``LINES`` in this time; how many more there were is said with the next one."""
_TEXT_CHARACTERS = 120


class Malformed(logging.Filter):
    """Makes one line of a malformed request's traceback; everything else passes as it is."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._begin_s = clock_s()
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged; it may be changed."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        now = self._clock_s()
        untold = 0
        if now >= self._begin_s + PERIOD_S:
            untold, self._begin_s, self._count = max(0, self._count - LINES), now, 0
        self._count += 1
        if self._count > LINES:
            return False
        address = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        lines = error.message.splitlines()
        text = "".join(c if c.isprintable() else " " for c in lines[0])[:_TEXT_CHARACTERS] if lines else ""
        more = f"; {untold} more of the kind before it" if untold else ""
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "refused a malformed request from %s: %s%s", (address or "here", text, more)
        record.exc_info = record.exc_text = None
        return True


logger = logging.getLogger("kvorum.server.http")
logger.addFilter(Malformed())
