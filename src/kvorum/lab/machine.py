"""One machine of a running lab: lays its files out, plugs it in, boots it, cuts its power.

Runs inside the lab's own namespaces (see warden.py), so that whatever it mounts or starts ends with them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kvorum.core.errors import DeadlineExceeded, KvorumError
from kvorum.lab import kernel, kvm, plan
from kvorum.lab.cgroup import Cgroup

_DEVICES = ("/dev/fuse", "/dev/net/tun")
_BOOT_S = 60.0
_KILL_S = 15.0
_TOOL_S = 60.0


class MachineRuntime:
    """A machine's processes, mounts and ports; ``state`` is booting, running, frozen, off or cut."""

    def __init__(self, machine: plan.Machine, lab: plan.Plan, places: plan.Places, cgroup: Cgroup) -> None:
        self.machine = machine
        self.leader: int | None = None
        self.state = "off"
        self._lab = lab
        self._places = places
        self._own = places.machine(machine.name)
        self._cgroup = cgroup
        self._nspawn: asyncio.subprocess.Process | None = None
        self._lossy: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def cgroup(self) -> Cgroup:
        """The control group that holds every process of the machine."""
        return self._cgroup

    @property
    def _has_lossy(self) -> bool:
        return self._lab.lossy and not self.machine.plain

    async def lay_out(self, root: Path, password_hash: str) -> None:
        """Make the machine's disks and its overlay over ``root``; raises ``OSError`` or ``KvorumError``."""
        own = self._own
        for folder in (own.root, own.upper, own.work, own.vz, own.btrfs, own.disks):
            folder.mkdir(parents=True, exist_ok=True)
        kernel.mount(
            "overlay",
            own.root,
            "overlay",
            options=f"lowerdir={root},upperdir={own.upper},workdir={own.work}",
        )
        self._write_files(password_hash)
        if not self.machine.plain:
            await self._make_disks()

    def _write_files(self, password_hash: str) -> None:
        root = self._own.root
        files = plan.machine_files(self.machine, self._lab, password_hash, secrets.token_hex(16))
        for name, file in files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_text(file.text)
            target.chmod(file.mode)
        shadow = root / "etc/shadow"
        shadow.write_text(plan.with_root_password(shadow.read_text(), password_hash))
        units = root / "etc/systemd/system"
        for unit in plan.masked_units():
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to("/dev/null")
        if not self.machine.plain and (root / "usr/sbin/zfs-fuse").exists():
            wants = units / "multi-user.target.wants/zfs-fuse.service"
            wants.parent.mkdir(exist_ok=True)
            wants.unlink(missing_ok=True)
            wants.symlink_to("/etc/systemd/system/zfs-fuse.service")
            (units / "sysinit.target.wants/zfs-fuse.service").unlink(missing_ok=True)
        (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
        for mount_point in (
            "mnt/shared",
            "mnt/btrfs",
            "var/lib/lab-disks",
            "var/lib/vz",
            "var/lib/pve-cluster",
        ):
            (root / mount_point).mkdir(parents=True, exist_ok=True)
        self._write_host_key(root / "etc/ssh")

    def _write_host_key(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("ssh_host_*"):
            old.unlink()
        key = Ed25519PrivateKey.generate()
        private = folder / "ssh_host_ed25519_key"
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        (folder / "ssh_host_ed25519_key.pub").write_bytes(public + f" root@{self.machine.name}\n".encode())

    async def _make_disks(self) -> None:
        for name in ("btrfs.img", "zfs.img"):
            with (self._own.disks / name).open("ab") as disk:
                disk.truncate(plan.DISK_BYTES)
        disk_path = str(self._own.disks / "btrfs.img")
        await run("mkfs.btrfs", "--quiet", "--label", self.machine.name, disk_path)
        await run("mount", "-t", "btrfs", "-o", "loop", disk_path, str(self._own.btrfs))

    async def boot(self) -> None:
        """Switch the machine on and return when its systemd has started everything.

        Raises ``KvorumError`` with the console's last line when it does not come up.
        """
        self.state = "booting"
        try:
            await self._boot()
        except BaseException:
            self.state = "off"
            raise
        self.state = "running"

    async def _boot(self) -> None:
        if not await asyncio.to_thread(self._cgroup.clear, _KILL_S):  # who entered too late is in it still
            raise DeadlineExceeded(f"{self.machine.name}'s old processes did not die within {_KILL_S:g} s")
        self._cgroup.create()
        self._cgroup.hand_down_controllers()
        if self._has_lossy:
            await self._start_lossy()
        await self._plug_in()
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        notify = self._places.state / f"{self.machine.name}.notify"
        notify.unlink(missing_ok=True)
        heard.bind(str(notify))
        wanted = (*_DEVICES, kvm.DEVICE) if kvm.runs_guests() else _DEVICES
        devices = tuple(d for d in wanted if os.access(d, os.F_OK))
        argv = plan.nspawn_argv(self.machine, self._places, lossy=self._has_lossy, devices=devices)
        with heard, self._own.console.open("ab") as console:
            self._nspawn = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "NOTIFY_SOCKET": str(notify)},
                preexec_fn=self._cgroup.join,
            )
            await self._wait_ready(heard, self._nspawn)
        notify.unlink(missing_ok=True)
        if kvm.DEVICE in devices and not self.machine.plain:
            kvm.note(Path(f"/proc/{self.leader}/root"))
        self._watch = asyncio.create_task(self._follow(self._nspawn))

    async def _wait_ready(self, heard: socket.socket, nspawn: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.create_task(nspawn.wait())
        try:
            async with asyncio.timeout(_BOOT_S):
                while True:
                    said = asyncio.create_task(loop.sock_recv(heard, 4096))
                    await asyncio.wait({said, gone}, return_when=asyncio.FIRST_COMPLETED)
                    if not said.done():
                        said.cancel()
                        raise KvorumError(f"{self.machine.name} did not boot: {self._last_words()}")
                    for line in said.result().decode(errors="replace").splitlines():
                        if line.startswith("X_NSPAWN_LEADER_PID="):
                            self.leader = int(line.partition("=")[2])
                        elif line == "READY=1":
                            return
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.machine.name} was not up within {_BOOT_S:g} s: {self._last_words()}"
            ) from None
        finally:
            gone.cancel()

    def _last_words(self) -> str:
        lines = [line for line in self._own.console.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} (all of it: {self._own.console})"

    async def _follow(self, nspawn: asyncio.subprocess.Process) -> None:
        """When the machine goes down by itself, note it, and boot again what asked for a reboot."""
        code = await nspawn.wait()
        self.leader = None
        self._cgroup.kill()
        await asyncio.to_thread(self._cgroup.wait_empty, _KILL_S)
        await self._unplug()
        self.state = "off"
        if code == plan.EXIT_REBOOT:
            try:
                await self.boot()
            except (KvorumError, OSError) as error:
                sys.stderr.write(f"{self.machine.name} did not come back from its reboot: {error}\n")

    async def cut(self) -> None:
        """Take the power away: every process dies at once, and the lossy disk forgets what was not synced.

        The network goes first, since the kernel would take leave of every peer whose connection it closes.
        """
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        for network in self.machine.networks:
            with suppress(KvorumError):  # it was off, or went down just now
                await run("ip", "link", "set", self.machine.port(network), "down")
        self._cgroup.kill()
        if self._nspawn:
            async with asyncio.timeout(_KILL_S):
                await self._nspawn.wait()
            self._nspawn = None
        if not await asyncio.to_thread(self._cgroup.wait_empty, _KILL_S):
            raise DeadlineExceeded(f"{self.machine.name}'s processes did not die within {_KILL_S:g} s")
        self.leader = None
        self.state = "cut"
        await self._unplug()

    async def freeze(self, frozen: bool) -> None:
        """Stop or continue the whole machine; raises ``DeadlineExceeded`` when it won't stop."""
        if not await asyncio.to_thread(self._cgroup.set_frozen, frozen):
            raise DeadlineExceeded(
                f"{self.machine.name} did not {'freeze' if frozen else 'thaw'} within 10 s: "
                "a process waits in the kernel; try again"
            )
        self.state = "frozen" if frozen else "running"

    async def take_apart(self) -> None:
        """Unmount everything; the machine must be off."""
        for target in (self._own.btrfs, self._own.root):
            with suppress(OSError):
                kernel.unmount(target)

    async def _start_lossy(self) -> None:
        own = self._own
        for folder in (own.lossy_backing, own.lossy_mount):
            folder.mkdir(exist_ok=True)
        told, tell = os.pipe()
        self._lossy = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kvorum.lab.lossy",
            str(own.lossy_backing),
            str(own.lossy_mount),
            str(tell),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(tell,),
        )
        os.close(tell)
        try:
            async with asyncio.timeout(_TOOL_S):
                if await asyncio.to_thread(os.read, told, 1) != b"1":
                    raise KvorumError(
                        f"{self.machine.name}'s lossy disk did not start: see {self._places.log}"
                    )
        finally:
            os.close(told)

    async def _plug_in(self) -> None:
        name = self.machine.name
        await run("ip", "netns", "add", name)
        await run("ip", "-batch", "-", text=plan.plug_in(self.machine))
        await run("ip", "-n", name, "-batch", "-", text=plan.interfaces_setup(self.machine))

    async def _unplug(self) -> None:
        """Take the ports, the network namespace and the lossy disk away; what is gone already is no error."""
        if self._lossy:
            with suppress(ProcessLookupError):
                self._lossy.kill()
            await self._lossy.wait()
            self._lossy = None
            with suppress(OSError):
                kernel.unmount(self._own.lossy_mount, kernel.MNT_DETACH)
        for network in self.machine.networks:
            with suppress(KvorumError):
                await run("ip", "link", "delete", self.machine.port(network))
        with suppress(KvorumError):
            await run("ip", "netns", "delete", self.machine.name)


async def run(*argv: str, text: Sequence[str] | None = None) -> None:
    """Run a host's tool, ``text`` its input by lines; raises ``KvorumError`` with its words."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if text is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    given = None if text is None else ("\n".join(text) + "\n").encode()
    async with asyncio.timeout(_TOOL_S):
        said, _ = await process.communicate(given)
    if process.returncode:
        raise KvorumError(
            f"{shutil.which(argv[0]) or argv[0]} failed: {said.decode(errors='replace').strip()}"
        )
