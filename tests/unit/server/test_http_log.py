"""Malformed requests cost a line each, and a flood of them a few lines."""

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import pytest
from aiohttp.http_exceptions import BadStatusLine

from kvorum.server import http_log
from kvorum.server.http_log import LINES, PERIOD_S, Malformed

if TYPE_CHECKING:
    from conftest import Cluster


def record(error: Exception) -> logging.LogRecord:
    told = (type(error), error, None)
    return logging.LogRecord(
        "x", logging.ERROR, "", 0, "Error handling request from %s", ("192.0.2.7",), told
    )


def test_a_malformed_request_is_one_warning_with_the_address_and_no_traceback() -> None:
    one = record(BadStatusLine("GET \x1b[31m\r\nEvil: 1"))
    assert Malformed().filter(one)
    assert one.levelname == "WARNING" and one.exc_info is None
    text = one.getMessage()
    assert "192.0.2.7" in text and text.isprintable()


def test_a_flood_is_counted_instead_of_logged_and_the_next_period_says_how_many() -> None:
    now = 0.0
    judge = Malformed(lambda: now)
    assert sum(judge.filter(record(BadStatusLine("x"))) for _ in range(1000)) == LINES
    now = PERIOD_S
    one = record(BadStatusLine("x"))
    assert judge.filter(one) and f"{1000 - LINES} more" in one.getMessage()
    other = record(BadStatusLine("x"))
    assert judge.filter(other) and "more" not in other.getMessage()


def test_an_error_of_our_own_keeps_its_traceback() -> None:
    one = record(RuntimeError("nobody foresaw this"))
    assert Malformed().filter(one) and one.exc_info and one.levelname == "ERROR"


async def test_what_reaches_the_port_is_logged_in_one_line(
    cluster: "Cluster", caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_log.logger, "filters", [Malformed()])  # other tests have sent many
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n")
    assert b"400" in await asyncio.wait_for(reader.readline(), 10)
    writer.transport.abort()
    (one,) = [one for one in caplog.records if one.name == "kvorum.server.http"]
    assert "127.0.0.1" in one.getMessage() and one.exc_info is None
