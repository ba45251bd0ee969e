"""What lies in /run/qemu-server for each running guest, and the sockets QEMU is handed.

    100.pid       the process's id, as users know it
    100.json      the rest a later daemon needs to take the guest up again (``RunRecord``)
    100.qmp       QMP for pvedaemon;  100.mon: QMP for ``qm monitor`` and rescue
    100.serial0   a serial port;  100.qga: the guest agent's channel
    100.log       QEMU's output;  100.tpm.log: its swtpm's

The sockets are listened on before QEMU starts and handed over: they belong to root, QEMU needs no right to
make them, and whoever connects early simply waits until QEMU is ready.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from kvorum.guests.machine.process import start_time

_MAX_SOCKET_PATH = 107


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon that comes later must know about a running guest."""

    vmid: int
    pid: int
    started: int
    """The process's start in clock ticks since boot: with the pid it names one process."""
    begun: float
    """When the guest was started or taken over, Unix seconds; its uptime counts from here."""
    machine: str
    accelerator: str
    version: str
    """QEMU's version."""
    incoming: bool = False
    """It waits for a guest that migrates to here; the guest isn't ours yet."""
    tpm_pid: int = 0
    """Its swtpm; 0: it has none."""
    tpm_started: int = 0
    standing: bool = False
    """It stands still for a moment (a snapshot's), and goes on whatever becomes of that."""


class RunFiles:
    """The files of running guests under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, vmid: int, name: str) -> Path:
        """The file of one guest, such as its ``qmp``."""
        return self.directory / f"{vmid}.{name}"

    def prepare(self) -> None:
        """Make the directory; only root may list it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)

    def listen(self, vmid: int, names: Iterable[str]) -> dict[str, socket.socket]:
        """Listening sockets by name, replacing what a dead QEMU left. The caller closes them."""
        sockets: dict[str, socket.socket] = {}
        try:
            for name in names:
                path = self.path(vmid, name)
                if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
                    raise OSError(f"'{path}' is too long for a socket's path")
                path.unlink(missing_ok=True)
                sockets[name] = server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                server.bind(str(path))
                path.chmod(0o600)
                server.listen(8)
        except BaseException:
            for server in sockets.values():
                server.close()
            raise
        return sockets

    def write(self, record: RunRecord) -> None:
        """Note a running guest, each file whole or not at all."""
        for name, data in (("json", msgspec.json.encode(record)), ("pid", f"{record.pid}\n".encode())):
            path = self.path(record.vmid, name)
            draft = path.with_name(path.name + ".new")
            draft.write_bytes(data)
            draft.replace(path)

    def read(self, vmid: int) -> RunRecord | None:
        """The note about a guest, if its process lives."""
        try:
            record = msgspec.json.decode(self.path(vmid, "json").read_bytes(), type=RunRecord)
        except (OSError, msgspec.MsgspecError):
            return None
        return record if start_time(record.pid) == record.started else None

    def vmids(self) -> list[int]:
        """The guests that have files here, alive or not; a log alone does not count."""
        files = (path.name.partition(".") for path in self.directory.glob("*.*"))
        return sorted({int(vmid) for vmid, _, rest in files if vmid.isdigit() and not rest.endswith("log")})

    def remove(self, vmid: int) -> None:
        """Remove a guest's files; its last output stays for whoever asks why it ended."""
        for path in self.directory.glob(f"{vmid}.*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != f"{vmid}.log":
                with contextlib.suppress(OSError):
                    path.unlink()
