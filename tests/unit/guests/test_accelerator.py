"""The tiny guest that tells whether an accelerator works."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kvorum.guests.machine import accelerator
from kvorum.guests.machine.accelerator import Accelerator

QEMU = "qemu-system-x86_64"
needs_qemu = pytest.mark.skipif(not shutil.which(QEMU), reason="no qemu-system-x86_64 here")


@needs_qemu
async def test_the_guest_reaches_64_bit_mode_under_tcg() -> None:
    assert await accelerator.probe(QEMU, "tcg", 20) == Accelerator("tcg", "")


@needs_qemu
async def test_a_guest_that_hangs_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "firmware", lambda: b"\xf4" * 0xFFF0 + b"\xeb\xfe" + b"\xf4" * 14)
    found = await accelerator.probe(QEMU, "tcg", 0.5)
    assert "did not bring a guest into 64-bit mode" in found.reason


async def test_the_answer_is_asked_once_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def probe(binary: str) -> Accelerator:
        asked.append(binary)
        return Accelerator("kvm")

    monkeypatch.setattr(accelerator, "probe", probe)
    for _ in range(2):
        assert await accelerator.find("qemu", tmp_path / "run" / "a.json") == Accelerator("kvm")
    monkeypatch.setattr(accelerator, "_boot_and_binary", lambda binary: ("another boot", ""))
    await accelerator.find("qemu", tmp_path / "run" / "a.json")
    assert len(asked) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_a_folder_that_may_not_be_searched_does_not_stop_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{closed}:/usr/bin:/bin")
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(65534)
            _, found = accelerator._boot_and_binary("sh")
            os._exit(0 if found.startswith(("/usr/bin/sh:", "/bin/sh:")) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
