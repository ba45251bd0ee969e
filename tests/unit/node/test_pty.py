"""Programs on a pseudo terminal of their own."""

from __future__ import annotations

import asyncio
import sys

import pytest

from kvorum.node.terminal import pty
from kvorum.node.terminal.pty import Pty

AS_LOGIN = """
import os, time
name = os.ttyname(0)
os.write(1, b"before ")
time.sleep(0.1)
os.closerange(0, 3)
time.sleep(0.3)
again = os.open(name, os.O_RDWR)
os.write(again, b"after")
os.read(again, 100)
"""
CLOSES = "import os, time; os.write(1, b'said'); time.sleep(0.1); os.closerange(0, 3); time.sleep(60)"


async def on(program: str) -> Pty:
    return await Pty.start([sys.executable, "-c", program], {"PATH": "/usr/bin:/bin"})


async def everything(terminal: Pty) -> bytes:
    seen = b""
    while data := await terminal.read():
        seen += data
    return seen


async def test_what_is_typed_comes_to_the_program_and_what_it_says_comes_back() -> None:
    terminal = await on("print(input()[::-1])")
    await terminal.write(b"abc\n")
    assert (await asyncio.wait_for(everything(terminal), 20)).endswith(b"cba\r\n")
    await terminal.close()


async def test_a_program_that_opens_its_terminal_anew_is_not_taken_for_ended() -> None:
    terminal, seen = await on(AS_LOGIN), b""
    async with asyncio.timeout(20):
        while b"after" not in seen:
            data = await terminal.read()
            assert data, seen
            seen += data
        await terminal.write(b"go\n")
        assert await everything(terminal) == b"go\r\n"
    await terminal.close()


async def test_one_that_leaves_it_closed_is_let_go_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pty, "REOPEN_WITHIN_S", 0.2)
    monkeypatch.setattr(pty, "END_TIMEOUT_S", 0.2)
    terminal = await on(CLOSES)
    assert await asyncio.wait_for(everything(terminal), 20) == b"said"
    await asyncio.wait_for(terminal.close(), 20)


async def test_the_terminals_size_is_the_programs() -> None:
    terminal = await on("import os; input(); print(tuple(os.get_terminal_size()))")
    terminal.resize(123, 45)
    await terminal.write(b"\n")
    assert b"(123, 45)" in await asyncio.wait_for(everything(terminal), 20)
    await terminal.close()
