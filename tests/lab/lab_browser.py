"""A real browser before the pages of the lab's nodes."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import threading
from pathlib import Path

from lab_cluster import address

from kvorum.lab import Lab

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
DEADLINE_MS = 30_000
PORT = 8006


class Relay:
    """A port of this host that leads to port 8006 of a node, whose network the host does not see."""

    def __init__(self, lab: Lab, node: str) -> None:
        self._lab, self._target = lab, (address(lab, node, 0), PORT)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(10)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, self._lab.socket() as far, contextlib.suppress(OSError):
            far.settimeout(20)
            far.connect(self._target)
            pair = {near: far, far: near}
            while True:
                for ready in select.select(list(pair), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    pair[ready].sendall(data)


def trusting(home: Path, authorities: dict[str, str]) -> dict[str, str | float | bool]:
    """The environment of a Chromium that trusts these authorities (PEM by name) and has its own home."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    _certutil(store, "-N", "--empty-password")
    for name, pem in authorities.items():
        file = home / f"{name}.pem"
        file.write_text(pem)
        _certutil(store, "-A", "-n", name, "-t", "C,,", "-i", str(file))
    return {"HOME": str(home)}


def _certutil(store: Path, *argv: str) -> None:
    subprocess.run(["certutil", "-d", f"sql:{store}", *argv], check=True, timeout=60, capture_output=True)
