"""What the fake API knows of guests' insides: settings that wait, disks, snapshots, consoles, new guests."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

Json = dict[str, Any]
GIB = 1024**3
WIDTH, HEIGHT = 320, 200
COLOUR = (40, 120, 200)
"""What the display shows, red, green, blue."""
TICKET = "PVEVNC:5F000000::c2ln"
CLOUD = ("ci", "ssh", "nameserver", "searchdomain", "ipconfig")
"""What the settings that cloud-init is told begin with."""
_WAITS = frozenset({"cores", "sockets", "cpu", "machine", "bios", "vga", "scsihw"})
"""Settings that a running guest takes at its next start."""


def first_settings(vmid: int, name: str) -> Json:
    """The settings of a guest that nobody has changed."""
    return {
        "name": name,
        "cores": 2,
        "memory": "2048",
        "machine": "q35",
        "ostype": "l26",
        "agent": "1",
        "scsi0": f"shared:{vmid}/vm-{vmid}-disk-0.qcow2,size=8G,discard=on",
        "ide2": "none,media=cdrom",
        "scsihw": "virtio-scsi-single",
        "serial0": "socket",
        "net0": "virtio=BC:24:11:5A:10:4F,bridge=vmbr0",
        "boot": "order=scsi0",
        "description": "Serves the family's photos.\n",
    }


@dataclass
class Inside:
    """One guest's settings and snapshots."""

    settings: Json
    waiting: Json = field(default_factory=dict)
    """What the next start brings; ``None`` for what it takes away."""
    snapshots: list[Json] = field(default_factory=list)
    parent: str = ""
    on_drive: Json = field(default_factory=dict)
    """What cloud-init's drive says."""

    def change(self, form: Json, running: bool) -> None:
        """As PUT and POST of config."""
        for key in str(form.pop("revert", "")).split(","):
            self.waiting.pop(key, None)
        gone = [key for key in str(form.pop("delete", "")).split(",") if key]
        for key, value in {**form, **dict.fromkeys(gone)}.items():
            if running and key in _WAITS:
                self.waiting[key] = value
            elif value is not None:
                self._put(key, str(value))
            else:
                self._take(key)

    def _put(self, key: str, value: str) -> None:
        if value.endswith(":cloudinit"):
            value = f"{value.removesuffix(':cloudinit')}:1/vm-1-cloudinit.qcow2,media=cdrom"
        storage, _, rest = value.partition(":")
        size, _, options = rest.partition(",")
        if size.replace(".", "").isdigit():
            value = ",".join(filter(None, [f"{storage}:1/vm-1-{key}.qcow2", options, f"size={size}G"]))
        file = value.partition(",")[0]
        for other in [k for k, v in self.settings.items() if k.startswith("unused") and v == file]:
            del self.settings[other]
        self.settings[key] = value

    def _take(self, key: str) -> None:
        value = str(self.settings.pop(key, ""))
        if key.startswith(("scsi", "virtio", "sata", "ide")) and "media=cdrom" not in value:
            self.settings["unused0"] = value.partition(",")[0]

    def cloud_rows(self) -> list[Json]:
        """As GET of cloudinit: what the drive says, and what it will say once made anew."""
        told = {key: value for key, value in self.settings.items() if key.startswith(CLOUD)}
        told |= {"cipassword": "**********"} if "cipassword" in told else {}
        rows: list[Json] = []
        for key in sorted({*told, *self.on_drive}):
            row: Json = {"key": key}
            row |= {"value": self.on_drive[key]} if key in self.on_drive else {}
            if key not in told:
                row["delete"] = 1
            elif told[key] != self.on_drive.get(key):
                row["pending"] = told[key]
            rows.append(row)
        return rows

    def renew_drive(self) -> None:
        rows = self.cloud_rows()
        self.on_drive = {r["key"]: r.get("pending", r.get("value")) for r in rows if "delete" not in r}

    def started(self) -> None:
        """What waited takes effect."""
        for key, value in self.waiting.items():
            if value is None:
                self.settings.pop(key, None)
            else:
                self.settings[key] = value
        self.waiting.clear()

    def pending(self) -> list[Json]:
        """As GET of pending."""
        rows: dict[str, Json] = {key: {"key": key, "value": value} for key, value in self.settings.items()}
        for key, value in self.waiting.items():
            row = rows.setdefault(key, {"key": key})
            row.update({"delete": 1} if value is None else {"pending": value})
        return list(rows.values())

    def snapshot_rows(self) -> list[Json]:
        now: Json = {"name": "current", "description": "You are here!"}
        return [*self.snapshots, now | ({"parent": self.parent} if self.parent else {})]

    def snapshot(self, name: str, description: str, memory: bool) -> None:
        row: Json = {"name": name, "description": description, "snaptime": int(time.time())}
        row |= {"vmstate": 1} if memory else {}
        self.snapshots.append(row | ({"parent": self.parent} if self.parent else {}))
        self.parent = name


@dataclass
class Consoles:
    """What clients of consoles did."""

    keys: list[tuple[int, bool]] = field(default_factory=list)
    """Keysyms pressed (true) and let go."""
    typed: str = ""
    open: int = 0
    close_with: str = ""
    """When set, consoles are closed with this reason."""
    refuse: str = ""
    """When set, none is given, for this reason."""


async def display(socket: web.WebSocketResponse, consoles: Consoles) -> None:
    """An RFB server with one colour, which takes every password."""
    stream = _Stream(socket)
    await socket.send_bytes(b"RFB 003.008\n")
    await stream.exactly(12)
    await socket.send_bytes(b"\1\2")
    await stream.exactly(1)
    await socket.send_bytes(bytes(16))
    await stream.exactly(16)
    await socket.send_bytes(bytes(4))
    await stream.exactly(1)
    pixels = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
    await socket.send_bytes(struct.pack(">HH", WIDTH, HEIGHT) + pixels + struct.pack(">I", 3) + b"one")
    shown = False
    order = [0, 1, 2]
    while True:
        kind = (await stream.exactly(1))[0]
        if kind == 0:
            form = await stream.exactly(19)
            order = [shift // 8 for shift in form[13:16]]
        elif kind == 2:
            (count,) = struct.unpack(">xH", await stream.exactly(3))
            await stream.exactly(4 * count)
        elif kind == 3:
            await stream.exactly(9)
            if not shown:
                shown = True
                pixel = bytearray(4)
                for place, part in zip(order, COLOUR, strict=True):
                    pixel[place] = part
                head = struct.pack(">BxHHHHHi", 0, 1, 0, 0, WIDTH, HEIGHT, 0)
                await socket.send_bytes(head + bytes(pixel) * (WIDTH * HEIGHT))
        elif kind == 4:
            down, keysym = struct.unpack(">BxxI", await stream.exactly(7))
            consoles.keys.append((keysym, bool(down)))
        elif kind == 5:
            await stream.exactly(5)
        elif kind == 6:
            (length,) = struct.unpack(">xxxi", await stream.exactly(7))
            await stream.exactly(abs(length))
        else:
            raise AssertionError(f"a client's message {kind}")


async def terminal(socket: web.WebSocketResponse, consoles: Consoles) -> None:
    """A terminal that says back what is typed."""
    stream = _Stream(socket)
    greeting = await socket.receive_str()
    assert greeting == f"root@pam:{TICKET}\n"
    await socket.send_bytes(b"OK")
    await socket.send_bytes(b"\x1b[32mlogin:\x1b[0m ")
    while True:
        kind = await stream.exactly(1)
        if kind == b"2":
            continue
        assert await stream.exactly(1) == b":"
        number = await stream.until(b":")
        if kind == b"1":
            await stream.until(b":")
            continue
        keys = await stream.exactly(int(number))
        consoles.typed += keys.decode()
        await socket.send_bytes(keys)


class Gone(Exception):
    """The client has closed."""


class _Stream:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._rest = b""

    async def exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                raise Gone
            data = message.data
            self._rest += data.encode() if isinstance(data, str) else data
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    async def until(self, end: bytes) -> bytes:
        found = b""
        while not found.endswith(end):
            found += await self.exactly(1)
        return found[: -len(end)]
