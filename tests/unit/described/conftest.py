"""``kvorum serve`` as a process of its own, for clients that describe or are described."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import urllib3


class Served(NamedTuple):
    """One node: where it answers, how one logs in there, what it has logged."""

    host: str
    password: str
    log: Path

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def login(self) -> dict[str, str]:
        """The headers of a logged-in client that may change things."""
        form = {"username": "root@pam", "password": self.password}
        data = self.call("POST", "/api2/json/access/ticket", data=form)["data"]
        return {
            "Cookie": f"PVEAuthCookie={data['ticket']}",
            "CSRFPreventionToken": data["CSRFPreventionToken"],
        }

    def call(self, verb: str, path: str, **others: Any) -> Any:
        """Ask it; the answer's JSON."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            return requests.request(verb, self.url + path, verify=False, timeout=30, **others).json()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node of one's own, under a directory and at a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    log, directory = tmp_path / "log", tmp_path / "node"
    command = [sys.executable, "-m", "kvorum.server.serve", "--dir", str(directory), "--port", str(port)]
    with log.open("w") as stream, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stream, text=True
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            said = process.stdout.readline() + process.stdout.readline()
            password = re.search(r"password (\S+)", said)
            assert password, said + log.read_text()
            yield Served(f"127.0.0.1:{port}", password[1], log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
