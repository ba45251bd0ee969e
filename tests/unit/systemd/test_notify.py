"""sd_notify."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kvorum.systemd import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_the_state_reaches_the_manager_socket(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind("\0" + path if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        notify("READY=1\nSTATUS=quorate")
        assert manager.recv(100) == b"READY=1\nSTATUS=quorate"


def test_a_manager_that_is_gone_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
