"""A small API behind a real unix socket, and the small table that goes with it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from kvorum.cli.table import Table

RAW = {
    "methods": {
        "GET /nodes/{node}/qemu": {
            "summary": "Virtual machine index.",
            "parameters": {"node": {"required": True}, "full": {"type": "boolean"}},
            "columns": ["vmid", "name"],
        },
        "POST /nodes/{node}/qemu/{vmid}/status/start": {
            "summary": "Start virtual machine.",
            "task": True,
            "parameters": {
                "node": {"required": True},
                "vmid": {"required": True, "type": "integer"},
                "skiplock": {"type": "boolean"},
            },
        },
        "PUT /nodes/{node}/qemu/{vmid}/config": {
            "summary": "Set virtual machine options.",
            "parameters": {
                "node": {"required": True},
                "vmid": {"required": True, "type": "integer"},
                "net[n]": {"count": 32},
                "tags": {"type": "array"},
                "name": {},
                "onboot": {"type": "boolean"},
            },
        },
        "POST /nodes/{node}/qemu/{vmid}/agent/exec": {
            "parameters": {
                "node": {"required": True},
                "vmid": {"required": True, "type": "integer"},
                "command": {"required": True, "type": "array"},
            },
        },
        "PUT /access/password": {
            "parameters": {
                "userid": {"required": True},
                "password": {"required": True, "ask": "New password: ", "ask_again": "Retype: "},
            },
        },
        "GET /nodes/{node}/qemu/current": {},
        "GET /nodes/{node}/qemu/{vmid}": {},
    },
    "commands": {
        "qm": {
            "list": {"method": "GET /nodes/{node}/qemu"},
            "start": {"method": "POST /nodes/{node}/qemu/{vmid}/status/start", "arguments": ["vmid"]},
            "set": {"method": "PUT /nodes/{node}/qemu/{vmid}/config", "arguments": ["vmid"]},
            "guest exec": {
                "method": "POST /nodes/{node}/qemu/{vmid}/agent/exec",
                "arguments": ["vmid", "command..."],
            },
        },
        "pveum": {"passwd": {"method": "PUT /access/password", "arguments": ["userid"]}},
    },
    "aliases": {"qm": {"agent exec": "guest exec"}},
}


@pytest.fixture
def table() -> Table:
    return Table(RAW)


@dataclass
class Api:
    """What the daemon will answer, by ``VERB /path``, and what it was asked."""

    socket: Path
    answers: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)

    def answer(self, key: str, *data: object) -> None:
        """Answer calls of ``key`` with these in turn, the last one for ever."""
        bodies = [("200 OK", json.dumps({"data": item}).encode()) for item in data]
        self.answers[key] = bodies

    def refuse(self, key: str, status: str, content: dict[str, object]) -> None:
        self.answers[key] = [(status, json.dumps(content).encode())]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A daemon at ``run/pvedaemon.sock`` under the test's directory."""
    run = tmp_path / "run"
    run.mkdir()
    here = Api(run / "pvedaemon.sock")

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            url = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode() or url.query
            path = url.path.removeprefix("/api2/json")
            here.asked.append((self.command, path, parse_qsl(text, keep_blank_values=True)))
            answers = here.answers.get(f"{self.command} {path}", [("501 Not Implemented", b"{}")])
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

        do_GET = do_POST = do_PUT = do_DELETE = _do

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def get_request(self):
            connection, _ = super().get_request()
            return connection, ("local", 0)

    with Server(str(here.socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield here
        server.shutdown()
        thread.join()
