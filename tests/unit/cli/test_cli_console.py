"""``qm terminal`` and ``qm vncproxy`` against a daemon that speaks websockets; ``qm wait`` for a process."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import WSCloseCode, web

from kvorum.cli.main import main

BIG = bytes(range(256)) * 1200 + b"that is all"
"""More than fits a frame with a short head."""


class Daemon:
    """Offers consoles and talks over them: says all back, ``end`` closes with a sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status: dict[str, object] = {}
        self.heard: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    def __enter__(self) -> Daemon:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application()
        base = "/api2/json/nodes/{node}/qemu/{vmid}"
        app.router.add_post(f"{base}/termproxy", self._offer)
        app.router.add_post(f"{base}/vncproxy", self._offer)
        app.router.add_get(f"{base}/vncwebsocket", self._socket)
        app.router.add_get(f"{base}/status/current", self._status)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.UnixSite(runner, str(self.path)).start()
        self._up.set()
        await self._end.wait()
        await runner.cleanup()

    async def _offer(self, request: web.Request) -> web.Response:
        offer = {"port": 5900, "ticket": "PVEVNC:1::abc+/=", "user": "root@pam", "upid": "UPID:"}
        return web.json_response({"data": offer})

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"data": self.status})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["vmid"] == "404":
            return web.json_response({"data": None, "message": "no console waits"}, status=500)
        assert request.query == {"port": "5900", "vncticket": "PVEVNC:1::abc+/="}
        socket = web.WebSocketResponse(protocols=["binary"])
        await socket.prepare(request)
        if request.match_info["vmid"] == "100":
            assert await socket.receive_bytes() == b"root@pam:PVEVNC:1::abc+/=\n"
            await socket.send_bytes(b"OK")
            await socket.send_bytes(b"login: ")
        await socket.ping(b"there?")
        async for message in socket:
            self.heard.append(message.data)
            if b"end" in message.data:
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"VM 100 is off")
            elif b"big" in message.data:
                await socket.send_bytes(BIG)
            else:
                await socket.send_bytes(message.data)
        return socket


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("KVORUM_ROOT", str(tmp_path))
    with Daemon(tmp_path / "run" / "pvedaemon.sock") as daemon:
        yield daemon


CODE = "import sys; from kvorum.cli.main import main; sys.exit(main('qm', sys.argv[1:]))"


@contextmanager
def qm(*words: str, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, with pipes unless other streams are given."""
    pipes: dict[str, int] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
    with subprocess.Popen([sys.executable, "-c", CODE, *words], bufsize=0, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def until(descriptor: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += os.read(descriptor, 1 << 16)
    return seen


def test_bytes_pass_through_a_display_as_they_are(daemon: Daemon) -> None:
    with qm("vncproxy", "101") as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"\0\xff\x0fRFB")
        assert until(process.stdout.fileno(), b"RFB") == b"\0\xff\x0fRFB"
        process.stdin.close()
        assert process.wait(30) == 0
    assert daemon.heard == [b"\0\xff\x0fRFB"]


def test_a_terminal_is_had_until_its_escape_is_typed(daemon: Daemon) -> None:
    master, slave = pty.openpty()
    with qm("terminal", "100", stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        assert b"Ctrl+O" in until(master, b"login: ")
        os.write(master, b"ro\x03ot\r")  # Ctrl-C is the guest's, not ours
        assert b"ro\x03ot\r" in until(master, b"ot\r")
        os.write(master, b"big")
        assert until(master, b"that is all").endswith(BIG)
        os.write(master, b"\x0f")
        assert process.wait(30) == 0
    os.close(master)
    assert b"".join(daemon.heard).startswith(b"0:6:ro\x03ot\r")


def test_the_reason_of_the_end_is_said(daemon: Daemon) -> None:
    with qm("terminal", "100") as process:
        assert process.stdin and process.stderr
        process.stdin.write(b"end")
        assert process.wait(30) == 255
        assert process.stderr.read().splitlines()[-1] == b"VM 100 is off"


def test_a_refusal_is_said(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("qm", ["terminal", "404"]) == 255
    assert capsys.readouterr().err == "no console waits\n"


def test_waiting_ends_with_the_process_and_at_the_deadline(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("qm", ["wait", "100"]) == 0, "it does not run"
    with subprocess.Popen(["sleep", "600"]) as process:
        daemon.status = {"pid": process.pid}
        assert main("qm", ["wait", "100", "--timeout", "0"]) == 255
        assert capsys.readouterr().err == "VM 100 still runs after 0 s\n"
        threading.Timer(0.2, process.kill).start()
        assert main("qm", ["wait", "100"]) == 0
    assert main("qm", ["wait", "100"]) == 0, "it has ended meanwhile"
    assert main("qm", ["wait", "100", "--timeout", "soon"]) == 255
    assert "timeout: 'soon' is no whole number" in capsys.readouterr().err
