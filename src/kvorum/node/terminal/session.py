"""A shell of this node over a websocket."""

from __future__ import annotations

import asyncio
import os

from kvorum.core.errors import KvorumError
from kvorum.core.terminal_frames import Resized, Typed
from kvorum.core.waiting import until_first
from kvorum.interface import ROOT, WebSocket
from kvorum.node.terminal.pty import Pty
from kvorum.tasks.consoles import said


def command(user: str) -> list[str]:
    """What runs on a terminal: root is logged in (login(1), ``-f``), anyone else is asked by login(1).

    A daemon that is no root's has nobody else's shell to give.
    """
    if os.geteuid() != 0:
        return ["/bin/sh", "-i"]
    return ["/bin/login", "-f", "root"] if user == ROOT else ["/bin/login"]


async def shell(socket: WebSocket, user: str) -> str:
    """Run a shell for a user's terminal until either ends; raises ``KvorumError`` when it does not start."""
    home = {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    environment = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.defpath, **home}
    try:
        pty = await Pty.start(command(user), environment)
    except OSError as error:
        raise KvorumError(f"the shell did not start: {error}") from error
    try:
        done = await until_first(
            asyncio.create_task(_show(socket, pty), name=f"show {user}"),
            asyncio.create_task(_type(socket, pty), name=f"type {user}"),
        )
        for task in done:
            task.result()  # raises what ended it
    finally:
        await pty.close()
    return ""


async def _show(socket: WebSocket, pty: Pty) -> None:
    while data := await pty.read():
        await socket.send(data)


async def _type(socket: WebSocket, pty: Pty) -> None:
    async for frame in said(socket):
        match frame:
            case Typed(keys):
                await pty.write(keys)
            case Resized(columns, rows):
                pty.resize(columns, rows)
