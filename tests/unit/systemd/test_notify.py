"""sd_notify."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from kvorum.systemd import notify, stay_alive


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


async def test_the_watchdog_is_fed_while_the_loop_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        feeding = asyncio.create_task(stay_alive())
        for _ in range(3):
            assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
        feeding.cancel()


@pytest.mark.parametrize("setting", [{}, {"WATCHDOG_USEC": "40000", "WATCHDOG_PID": str(os.getpid() + 1)}])
async def test_without_a_watchdog_of_ours_nothing_is_fed(
    setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    await asyncio.wait_for(stay_alive(), 5)
