"""What the guest's agent is asked for: facts, file systems, commands, files, passwords."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping

from pydantic import Field

from kvorum.core.errors import ParameterError
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.methods.parameters import GuestPath
from kvorum.interface import Boolean, Command, Context, LoggedIn, Privilege, RootOnly, Where, method

Answer = dict[str, object]
_BASE = "/nodes/{node}/qemu/{vmid}/agent"
_VM = "/vms/{vmid}"
_ANY = "VM.GuestAgent.Unrestricted"
_READ_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_FREEZE_S = 600.0
_POLL_S = 0.2
_RIGHTS = {"audit": "VM.GuestAgent.Audit", "files": "VM.GuestAgent.FileSystemMgmt", "power": "VM.PowerMgmt"}
_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "fsfreeze-freeze": ("POST", "files", "Freeze the guest's file systems."),
    "fsfreeze-status": ("POST", "audit files", "Tell whether the guest's file systems are frozen."),
    "fsfreeze-thaw": ("POST", "files", "Let the guest's file systems go on."),
    "fstrim": ("POST", "files", "Give back what the guest's file systems don't use."),
    "get-fsinfo": ("GET", "audit", "The guest's file systems."),
    "get-host-name": ("GET", "audit", "The guest's host name."),
    "get-memory-block-info": ("GET", "audit", "The size of the guest's memory blocks."),
    "get-memory-blocks": ("GET", "audit", "The guest's memory blocks."),
    "get-osinfo": ("GET", "audit", "The guest's operating system."),
    "get-time": ("GET", "audit", "The guest's time, nanoseconds since 1970."),
    "get-timezone": ("GET", "audit", "The guest's time zone."),
    "get-users": ("GET", "audit", "Who is logged in in the guest."),
    "get-vcpus": ("GET", "audit", "The guest's CPUs."),
    "info": ("GET", "audit", "The agent's version and what it can do."),
    "network-get-interfaces": ("GET", "audit", "The guest's network interfaces and their addresses."),
    "ping": ("POST", "audit", "See whether the agent answers."),
    "shutdown": ("POST", "power", "Have the guest switch itself off."),
    "suspend-disk": ("POST", "power", "Have the guest hibernate."),
    "suspend-hybrid": ("POST", "power", "Have the guest sleep, with its memory also on its disk."),
    "suspend-ram": ("POST", "power", "Have the guest sleep."),
}
_WITHOUT_ANSWER = frozenset({"shutdown", "suspend-disk", "suspend-hybrid", "suspend-ram"})


class CommandParameters(GuestPath):
    command: str


class ExecParameters(GuestPath):
    command: list[str] = Field(min_length=1)
    input_data: str | None = Field(default=None, alias="input-data", max_length=65536)


class RunParameters(GuestPath):
    command: list[str] = Field(min_length=1)
    timeout: int = Field(default=30, ge=0, le=3600)
    synchronous: Boolean = True


class PidParameters(GuestPath):
    pid: int


class ReadParameters(GuestPath):
    file: str
    count: int = Field(default=_READ_BYTES, ge=1, le=_READ_BYTES)
    offset: int = Field(default=0, ge=0)
    decode: Boolean = True


class WriteParameters(GuestPath):
    file: str
    content: str = Field(max_length=61440)
    encode: Boolean = True


class PasswordParameters(GuestPath):
    username: str
    password: str = Field(
        min_length=5,
        max_length=1024,
        json_schema_extra={"ask": "Enter new password: ", "ask_again": "Retype new password: "},
    )
    crypted: Boolean = False


async def _ask(
    ctx: Context, vmid: int, command: str, arguments: Mapping[str, object] | None = None
) -> object:
    agent = ctx.service(GuestManager).agent(vmid)
    deadline_s = _FREEZE_S if command in ("fsfreeze-freeze", "fsfreeze-thaw", "fstrim") else 10.0
    return await agent.ask(f"guest-{command}", arguments, deadline_s=deadline_s)


async def _simple(ctx: Context, vmid: int, command: str) -> Answer:
    if command in _WITHOUT_ANSWER:
        await ctx.service(GuestManager).agent(vmid).tell(f"guest-{command}")
        return {"result": {}}
    return {"result": await _ask(ctx, vmid, command)}


def _declare(command: str, verb: str, rights: str, text: str) -> None:
    async def ask(ctx: Context, p: GuestPath) -> Answer:
        return await _simple(ctx, p.vmid, command)

    ask.__name__, ask.__doc__ = command.replace("-", "_"), text
    privileges = (*(_RIGHTS[name] for name in rights.split()), _ANY)
    method(verb, f"{_BASE}/{command}", permission=Privilege(_VM, *privileges, any_of=True), where=Where.NODE,
           protected=True)(ask)  # fmt: skip


for _command, (_verb, _rights, _text) in _COMMANDS.items():
    _declare(_command, _verb, _rights, _text)


@method("GET", _BASE, permission=LoggedIn())
async def directory(ctx: Context, p: GuestPath) -> list[Answer]:
    """What the guest's agent can be asked."""
    more = ("exec", "exec-status", "file-read", "file-write", "set-user-password")
    return [{"name": name} for name in sorted((*_COMMANDS, *more))]


@method("POST", _BASE, permission=Privilege(_VM, _ANY, any_of=True), where=Where.NODE, protected=True,
        commands=(Command("qm guest cmd", "vmid", "command", aliases=("qm agent",)),))  # fmt: skip
async def ask(ctx: Context, p: CommandParameters) -> Answer:
    """Have the guest's agent carry out a command."""
    if p.command not in _COMMANDS:
        raise ParameterError({"command": f"'{p.command}' is none of {', '.join(sorted(_COMMANDS))}"})
    return await _simple(ctx, p.vmid, p.command)


@method("POST", f"{_BASE}/exec", permission=Privilege(_VM, _ANY), where=Where.NODE, protected=True)
async def execute(ctx: Context, p: ExecParameters) -> Answer:
    """Run a program in the guest; its end is asked for with its pid."""
    return {"pid": await _begin(ctx, p.vmid, p.command, p.input_data)}


@method("GET", f"{_BASE}/exec-status", permission=Privilege(_VM, _ANY), where=Where.NODE, protected=True,
        commands=(Command("qm guest exec-status", "vmid", "pid"),))  # fmt: skip
async def execute_status(ctx: Context, p: PidParameters) -> Answer:
    """What has become of a program that was run in the guest."""
    return await _status(ctx, p.vmid, p.pid)


@method("POST", "/kvorum/nodes/{node}/qemu/{vmid}/guest-exec", permission=RootOnly(), where=Where.NODE,
        protected=True, commands=(Command("qm guest exec", "vmid", "command..."),))  # fmt: skip
async def run(ctx: Context, p: RunParameters) -> Answer:
    """Run a program in the guest and wait for its end, for ``timeout`` seconds (0: for ever)."""
    pid = await _begin(ctx, p.vmid, p.command, None)
    if not p.synchronous:
        return {"pid": pid}
    try:
        async with asyncio.timeout(p.timeout or None):
            while True:  # the agent tells nobody when a program ends
                status = await _status(ctx, p.vmid, pid)
                if status.get("exited"):
                    return status
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return {"pid": pid, "exited": False}


@method("GET", f"{_BASE}/file-read", permission=Privilege(_VM, "VM.GuestAgent.FileRead", _ANY, any_of=True),
        where=Where.NODE, protected=True)  # fmt: skip
async def file_read(ctx: Context, p: ReadParameters) -> Answer:
    """Read a file of the guest, at most 16 MiB of it."""
    handle = await _ask(ctx, p.vmid, "file-open", {"path": p.file, "mode": "r"})
    try:
        if p.offset:
            await _ask(ctx, p.vmid, "file-seek", {"handle": handle, "offset": p.offset, "whence": "set"})
        content, whole = b"", False
        while not whole and len(content) < p.count:
            wanted = min(_CHUNK_BYTES, p.count - len(content))
            part = _mapping(await _ask(ctx, p.vmid, "file-read", {"handle": handle, "count": wanted}))
            content += _decoded(part.get("buf-b64"))
            whole = bool(part.get("eof")) or not part.get("count")
    finally:
        await _ask(ctx, p.vmid, "file-close", {"handle": handle})
    text = content.decode(errors="replace") if p.decode else base64.b64encode(content).decode()
    return {"content": text, "bytes-read": len(content), **({} if whole else {"truncated": True})}


@method("POST", f"{_BASE}/file-write", where=Where.NODE, protected=True,
        permission=Privilege(_VM, "VM.GuestAgent.FileWrite", _ANY, any_of=True))  # fmt: skip
async def file_write(ctx: Context, p: WriteParameters) -> None:
    """Write a file of the guest; with ``encode=0`` the content is base64 already."""
    content = base64.b64encode(p.content.encode()).decode() if p.encode else p.content
    handle = await _ask(ctx, p.vmid, "file-open", {"path": p.file, "mode": "wb"})
    try:
        await _ask(ctx, p.vmid, "file-write", {"handle": handle, "buf-b64": content})
    finally:
        await _ask(ctx, p.vmid, "file-close", {"handle": handle})


@method("POST", f"{_BASE}/set-user-password", permission=Privilege(_VM, _ANY), where=Where.NODE,
        protected=True, commands=(Command("qm guest passwd", "vmid", "username"),))  # fmt: skip
async def set_user_password(ctx: Context, p: PasswordParameters) -> Answer:
    """Set the password of a user of the guest."""
    encoded = base64.b64encode(p.password.encode()).decode()
    arguments = {"username": p.username, "password": encoded, "crypted": p.crypted}
    return {"result": await _ask(ctx, p.vmid, "set-user-password", arguments)}


async def _begin(ctx: Context, vmid: int, command: list[str], given: str | None) -> int:
    arguments: dict[str, object] = {"path": command[0], "arg": command[1:], "capture-output": True}
    if given is not None:
        arguments["input-data"] = base64.b64encode(given.encode()).decode()
    pid = _mapping(await _ask(ctx, vmid, "exec", arguments)).get("pid")
    if not isinstance(pid, int):
        raise GuestError("the guest's agent named no pid of what it has begun")
    return pid


async def _status(ctx: Context, vmid: int, pid: int) -> Answer:
    told = _mapping(await _ask(ctx, vmid, "exec-status", {"pid": pid}))
    shown: Answer = {key: told[key] for key in ("exited", "exitcode", "signal") if key in told}
    for key in ("out", "err"):
        if f"{key}-data" in told:
            shown[f"{key}-data"] = _decoded(told[f"{key}-data"]).decode(errors="replace")
        if told.get(f"{key}-truncated"):
            shown[f"{key}-truncated"] = True
    return shown


def _mapping(value: object) -> Answer:
    if not isinstance(value, dict):
        raise GuestError("the guest's agent gave an answer that was not understood")
    return value


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value or ""))
    except binascii.Error as error:
        raise GuestError("the guest's agent gave data that is no base64") from error
