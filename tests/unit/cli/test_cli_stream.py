"""Commands follow a task by the daemon's events, and by asking where there are none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvorum.cli import follow as following
from kvorum.cli.client import Client
from kvorum.cli.follow import follow
from kvorum.cli.stream import NoStream, task_events

UPID = "UPID:n2:00000001:00000002:00000003:qmstart:100:root@pam:"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def frame(name: str, **data: object) -> bytes:
    return f"id: 1\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, list[bytes]]]]:
    """A daemon that gives each connection the next of these answers, and what it was asked."""
    path = tmp_path / "pvedaemon.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    threads = []

    def start(*answers: bytes) -> tuple[Path, list[bytes]]:
        asked: list[bytes] = []

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(1 << 16))
                    connection.sendall(answer)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return path, asked

    yield start
    for thread in threads:
        thread.join(5)
    server.close()


def answer(data: object) -> bytes:
    body = json.dumps({"data": data}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_lines_and_the_end_are_told_and_nothing_is_asked(daemon, capsys) -> None:
    told = b": hello\n\n" + frame("log", n=1, t="one") + frame("log", n=2, t="TASK OK")
    path, asked = daemon(HEAD + chunk(told) + chunk(frame("end", exitstatus="OK", endtime=1)) + END)
    assert follow(Client(path), UPID, pause=lambda seconds: pytest.fail("it was to wait for events")) == 0
    assert capsys.readouterr().out == "one\n"
    assert len(asked) == 1
    assert asked[0].startswith(b"GET /api2/events?task=UPID%3An2%3A")


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_it_does_not_matter_how_the_stream_is_cut(daemon, size: int) -> None:
    told = (
        b": still here\n\n" + frame("progress", progress=0.5, doing="x") + frame("log", n=1, t="eins: zwei")
    )
    pieces = b"".join(chunk(told[at : at + size]) for at in range(0, len(told), size))
    path, _ = daemon(HEAD + pieces + END)
    assert list(task_events(path, UPID, 0)) == [
        ("progress", {"progress": 0.5, "doing": "x"}),
        ("log", {"n": 1, "t": "eins: zwei"}),
    ]


def test_a_stream_that_breaks_goes_on_after_the_last_line(daemon, capsys) -> None:
    path, asked = daemon(
        HEAD + chunk(frame("log", n=1, t="one")),  # cut off: no last chunk
        answer({"status": "running"}),
        answer([{"n": 1, "t": "one"}, {"n": 2, "t": "two"}]),
        HEAD + chunk(frame("log", n=3, t="three") + frame("end", exitstatus="no space left")) + END,
    )
    assert follow(Client(path), UPID, pause=lambda seconds: None) == following.FAILED
    said = capsys.readouterr()
    assert said.out == "one\ntwo\nthree\n"
    assert said.err == "no space left\n"
    assert b"Last-Event-ID: 0\r\n" in asked[0]
    assert b"Last-Event-ID: 2\r\n" in asked[3]


def test_a_daemon_without_streams_is_asked_and_not_for_streams_again(daemon) -> None:
    path, asked = daemon(
        b"HTTP/1.1 501 Method 'GET /events' not implemented\r\n\r\n",
        answer({"status": "running"}),
        answer([]),
        answer({"status": "stopped", "exitstatus": "OK"}),
        answer([]),
    )
    assert follow(Client(path), UPID, pause=lambda seconds: None) == 0
    assert len([request for request in asked if b"/events" in request]) == 1


def test_an_interrupt_while_listening_asks_the_task_to_stop(daemon, capsys, monkeypatch) -> None:
    path, asked = daemon(answer(None), HEAD + chunk(frame("end", exitstatus="received interrupt")) + END)
    listened = []

    def interrupted(*arguments: object) -> object:
        listened.append(arguments)
        if len(listened) == 1:
            raise KeyboardInterrupt
        return task_events(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(following, "task_events", interrupted)
    assert follow(Client(path), UPID, pause=lambda seconds: None) == following.FAILED
    assert asked[0].startswith(b"DELETE /api2/json/nodes/n2/tasks/")
    assert "asking the task to stop (Ctrl-C again leaves it running)" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [b"", b"nonsense", HEAD + b"zz\r\n", HEAD + chunk(b"data: {\n\n") + END])
def test_what_is_no_stream_is_said_and_may_come_back(daemon, broken: bytes) -> None:
    path, _ = daemon(broken)
    with pytest.raises(NoStream) as raised:
        list(task_events(path, UPID, 0))
    assert not raised.value.forever
