import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from kvorum.lab.demo_figures import counts
from kvorum.lab.demo_watch import EchoWatch, PageWatch, SerialWatch

DEADLINE_S = 30.0


class Here:
    """A lab of one machine, which is this one; sockets go to ``port`` of the loopback."""

    def __init__(self, port: int = 0) -> None:
        self.port = port

    def popen(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=stdin, stdout=stdout)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        port = self.port

        class Redirected(socket.socket):
            def connect(self, address):
                super().connect(("127.0.0.1", port))

            def sendto(self, data, address):
                return super().sendto(data, ("127.0.0.1", port))

        return Redirected(family, kind)


def eventually(condition) -> None:
    """Look until it holds; the watches run in threads that announce nothing."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "not seen in time"
        time.sleep(0.005)


def test_the_serial_console_is_read_again_after_each_qemu(tmp_path: Path) -> None:
    path = tmp_path / "100.serial0"
    with SerialWatch(Here(), "n1", str(path)) as watch:
        for number in (1, 2):
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
                listening.listen()
                listening.settimeout(DEADLINE_S)
                connection, _ = listening.accept()
                path.unlink()
                with connection:
                    connection.sendall(b"count %d\r\n" % number)
            eventually(lambda n=number: len(counts(watch.chunks)) == n)
    assert counts(watch.chunks) == [1, 2]
    assert watch.failure == ""


def test_a_reader_that_dies_is_a_failure_of_the_watch(tmp_path: Path) -> None:
    with SerialWatch(Here(), "n1", str(tmp_path / "none")) as watch:
        watch._process.kill()
        eventually(lambda: watch.failure)
    assert "ended by itself" in watch.failure


def test_echoes_are_sent_whether_or_not_they_come_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE_S)
        with EchoWatch(Here(server.getsockname()[1]), "198.19.1.1") as watch:
            for _ in range(20):
                data, peer = server.recvfrom(64)
                server.sendto(data, peer)
            eventually(lambda: len(watch.arrivals) == 20)
            eventually(lambda: watch.sent > 30)
    assert watch.first_answer.is_set()
    assert len(watch.arrivals) == 20
    assert watch.failure == ""


def test_the_page_watch_notes_counts_and_outlives_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.lab.demo_watch.HTTP_INTERVAL_S", 0.01)
    bodies = [b'HTTP/1.1 200 OK\r\n\r\n{"count": 4}', b"", b'HTTP/1.1 200 OK\r\n\r\n{"count": 6}']
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE_S)

        def serve() -> None:
            for body in bodies:
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        with PageWatch(Here(server.getsockname()[1]), "198.19.1.1") as watch:
            eventually(lambda: len(watch.answers) == 2)
            server.close()
        thread.join(DEADLINE_S)
    assert [count for _, count in watch.answers] == [4, 6]
    assert watch.failure == ""
