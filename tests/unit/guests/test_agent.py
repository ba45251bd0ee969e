"""The guest's agent asked over a socket, with agents that answer, refuse, are late, lie and are not there."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvorum.guests.errors import GuestError
from kvorum.guests.machine import agent
from kvorum.guests.machine.agent import AgentChannel
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.agent import (
    ReadParameters,
    RunParameters,
    WriteParameters,
    file_read,
    file_write,
    run,
)

Handler = Callable[[str, dict[str, Any]], Any]


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(path: Path, talk: Talk) -> AsyncIterator[AgentChannel]:
    """Whoever ``talk`` is, at a socket."""
    talking: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield AgentChannel(path)
    finally:
        server.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def answering(
    path: Path, handle: Handler, before: bytes = b"", during: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[AgentChannel]:
    """An agent at a socket; ``before`` are left-overs, ``during`` is awaited before each answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        while line := await reader.readline():
            request = json.loads(line.lstrip(b"\xff"))
            name, arguments = request["execute"], request["arguments"]
            if name == "guest-sync-delimited":
                writer.write(b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n")
                continue
            if during is not None:
                await during()
            try:
                answer = {"return": handle(name, arguments)}
            except ValueError as error:
                answer = {"error": {"class": "GenericError", "desc": str(error)}}
            writer.write(json.dumps(answer).encode() + b"\n")

    async with listening(path, talk) as channel:
        yield channel


async def test_an_agent_answers(tmp_path: Path) -> None:
    async with answering(tmp_path / "qga", lambda name, _: {"asked": name}) as channel:
        assert await channel.ask("guest-ping") == {"asked": "guest-ping"}


async def test_what_an_earlier_command_left_is_skipped(tmp_path: Path) -> None:
    left = b'{"return": {"late": 1}}\n\xff{"return": 17}\n'
    async with answering(tmp_path / "qga", lambda name, _: name, left) as channel:
        assert await channel.ask("guest-info") == "guest-info"


async def test_a_refusal_is_told_in_the_agents_words(tmp_path: Path) -> None:
    def refuse(name: str, arguments: dict[str, Any]) -> Any:
        raise ValueError("no such file")

    async with answering(tmp_path / "qga", refuse) as channel:
        with pytest.raises(GuestError, match="refused 'guest-file-open': no such file"):
            await channel.ask("guest-file-open")


async def test_an_agent_that_is_late_is_given_up_and_the_next_command_works(tmp_path: Path) -> None:
    late = asyncio.Event()

    async def wait() -> None:
        if not late.is_set():
            late.set()
            await asyncio.sleep(60)

    async with answering(tmp_path / "qga", lambda name, _: name, during=wait) as channel:
        with pytest.raises(GuestError, match=r"did not answer 'guest-fstrim' within 0\.1 s"):
            await channel.ask("guest-fstrim", deadline_s=0.1)
        assert await channel.ask("guest-ping") == "guest-ping"


async def test_no_agent_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuestError, match="QEMU guest agent is not running"):
        await AgentChannel(tmp_path / "nobody").ask("guest-ping")
    monkeypatch.setattr(agent, "SYNC_S", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(tmp_path / "qga", silent) as channel:
        with pytest.raises(GuestError, match="QEMU guest agent is not running"):
            await channel.ask("guest-ping")


@pytest.mark.parametrize("answer", [b"nonsense\n", b'{"error": "x"}\n', b"[]\n", b""])
async def test_a_guest_that_answers_nonsense_gets_a_sentence(tmp_path: Path, answer: bytes) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads((await reader.readline()).lstrip(b"\xff"))
        writer.write(b"\xff" + json.dumps({"return": request["arguments"]["id"]}).encode() + b"\n")
        await reader.readline()
        writer.write(answer)

    async with listening(tmp_path / "qga", lie) as channel:
        with pytest.raises(GuestError, match="guest's agent"):
            await channel.ask("guest-ping")


class Files:
    """A guest with files and programs."""

    def __init__(self) -> None:
        self.files = {"/etc/hostname": b"guest\n" * 400_000}
        self.place = 0
        self.polls = 0

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        match name:
            case "guest-file-open":
                self.name, self.place = arguments["path"], 0
                return 1000
            case "guest-file-seek":
                self.place = arguments["offset"]
                return {}
            case "guest-file-read":
                part = self.files[self.name][self.place : self.place + arguments["count"]]
                self.place += len(part)
                end = self.place >= len(self.files[self.name])
                return {"count": len(part), "buf-b64": base64.b64encode(part).decode(), "eof": end}
            case "guest-file-write":
                self.files[self.name] = base64.b64decode(arguments["buf-b64"])
                return {}
            case "guest-exec":
                self.ran = [arguments["path"], *arguments["arg"]]
                return {"pid": 7}
            case "guest-exec-status":
                self.polls += 1
                if self.polls < 3:
                    return {"exited": False}
                return {"exited": True, "exitcode": 2, "out-data": base64.b64encode(b"hello").decode()}
            case _:
                return {}


def context(channel: AgentChannel) -> Any:
    manager = SimpleNamespace(agent=lambda vmid: channel)
    return SimpleNamespace(service=lambda kind: manager if kind is GuestManager else None)


async def test_files_are_read_in_pieces_and_written(tmp_path: Path) -> None:
    guest = Files()
    async with answering(tmp_path / "qga", guest) as channel:
        ctx = context(channel)
        whole = await file_read(ctx, ReadParameters(node="n1", vmid=100, file="/etc/hostname"))
        assert whole == {"content": "guest\n" * 400_000, "bytes-read": 2_400_000}
        part = await file_read(
            ctx, ReadParameters(node="n1", vmid=100, file="/etc/hostname", count=3, offset=2)
        )
        assert part == {"content": "est", "bytes-read": 3, "truncated": True}
        await file_write(ctx, WriteParameters(node="n1", vmid=100, file="/tmp/a", content="text"))
        assert guest.files["/tmp/a"] == b"text"


async def test_a_program_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.guests.methods.agent._POLL_S", 0.01)
    guest = Files()
    async with answering(tmp_path / "qga", guest) as channel:
        ctx = context(channel)
        ended = await run(ctx, RunParameters(node="n1", vmid=100, command=["ls", "-l"]))
        assert ended == {"exited": True, "exitcode": 2, "out-data": "hello"}
        assert guest.ran == ["ls", "-l"]
        guest.polls = -1_000_000
        late = await run(ctx, RunParameters(node="n1", vmid=100, command=["sleep"], timeout=1))
        assert late == {"pid": 7, "exited": False}
