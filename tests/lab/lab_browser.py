"""A real browser before the pages of the lab's nodes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import address
from playwright.sync_api import Page, expect, sync_playwright

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


@contextlib.contextmanager
def signed_in(lab: Lab, node: str) -> Iterator[Page]:
    """A node's page, root logged in; in the end it must have broken nothing of its own."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt install chromium")
    expect.set_options(timeout=DEADLINE_MS)
    relay, complaints = Relay(lab, node), list[str]()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            context = chromium.new_context(ignore_https_errors=True, locale="en-US")
            context.set_default_timeout(DEADLINE_MS)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda it: "Content Security" in it.text and complaints.append(it.text))
            page.goto(relay.url)
            page.locator("#password").fill(lab.password)
            page.keyboard.press("Enter")
            expect(page.locator("#main h1")).to_be_visible()
            yield page
            chromium.close()
    finally:
        relay.close()
    assert complaints == []


def look(page: Page, name: str) -> None:
    """Pictures of the page for a person, light, dark and on a phone, where KVORUM_SHOTS names a folder."""
    if not (folder := os.environ.get("KVORUM_SHOTS")):
        return
    size = page.viewport_size or {"width": 1280, "height": 720}
    dark = "on => document.documentElement.classList.toggle('pf-v6-theme-dark', on)"
    for kind in ("light", "dark", "phone"):
        page.set_viewport_size({"width": 390, "height": 800} if kind == "phone" else size)  # type: ignore[arg-type]
        page.evaluate(dark, kind == "dark")
        page.screenshot(path=f"{folder}/{name}-{kind}.png", animations="disabled")
    page.set_viewport_size(size)


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
