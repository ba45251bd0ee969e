"""A node's journal in lines."""

from __future__ import annotations

import datetime

import pytest
from pydantic import ValidationError

from kvorum.node.journal import line
from kvorum.node.methods.journal import SyslogPart

ENTRY = {
    "__REALTIME_TIMESTAMP": datetime.datetime(2026, 11, 8, 6, 7, 8),
    "_HOSTNAME": "n1",
    "SYSLOG_IDENTIFIER": "sshd",
    "_PID": 711,
    "MESSAGE": "two\nlines",
}


def test_an_entry_is_one_line_as_journalctl_prints_it() -> None:
    assert line(ENTRY) == "Nov 08 06:07:08 n1 sshd[711]: two lines"


def test_what_is_missing_or_no_text_is_told_as_such() -> None:
    assert line({"MESSAGE": b"\xff\x00"}) == "- - unknown: [2B blob data]"
    assert line(ENTRY | {"SYSLOG_IDENTIFIER": ["a", "b"], "_PID": None}).endswith("n1 a: two lines")


@pytest.mark.parametrize("moment", ["2026-02-31", "yesterday", "2026-01-01 25:00"])
def test_a_date_that_is_none_is_refused(moment: str) -> None:
    with pytest.raises(ValidationError):
        SyslogPart(node="n1", since=moment)
