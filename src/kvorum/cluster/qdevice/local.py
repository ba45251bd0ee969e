"""This node's part of the QDevice: the package, the certificate database, the daemon, the way to QNetd."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kvorum.cluster.qdevice.certificate import Bundle
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.corosync import Cmap, CorosyncError
from kvorum.systemd import Systemd

UNIT = "corosync-qdevice.service"
CERTUTIL = Path("/usr/sbin/corosync-qdevice-net-certutil")
TOOL_S = 30.0
INSTALL_S = 300.0
REACH_S = 5.0
_MARK = "kvorum.digest"


class LocalDevice:
    """What corosync-qdevice needs on this node."""

    def __init__(self, paths: Paths, certutil: Path = CERTUTIL) -> None:
        self._folder = paths.corosync / "qdevice" / "net"
        self._certutil = certutil

    @property
    def database(self) -> Path:
        """The certificate database; the tool knows no other place on a system."""
        return self._folder / "nssdb"

    def installed(self) -> bool:
        """Whether Debian's corosync-qdevice is there."""
        return self._certutil.exists()

    async def install(self) -> None:
        """Install corosync-qdevice by apt; raises ``KvorumError`` with its last words."""
        apt = ["apt-get", "--quiet"]
        try:
            await _run([*apt, "update"], INSTALL_S)
        except KvorumError:
            pass  # a source that can't be reached; what is known may do
        await _run([*apt, "--yes", "--no-install-recommends", "install", "corosync-qdevice"], INSTALL_S)

    async def reach(self, address: str, port: int) -> str:
        """Why QNetd can't be reached from here; empty when it can."""
        try:
            async with asyncio.timeout(REACH_S):
                _, writer = await asyncio.open_connection(address, port)
        except TimeoutError:
            return "no answer, as behind a firewall that drops packets"
        except OSError as error:
            return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        writer.close()
        return ""

    def imported(self) -> str:
        """The digest of the bundle in the database; empty when we imported none, or not all of it."""
        try:
            return (self.database / _MARK).read_text()
        except FileNotFoundError:
            return ""

    async def import_bundle(self, bundle: Bundle) -> None:
        """Make the certificate database anew of this bundle; broken off, it is done again from the start.

        A database that is not ours is kept beside as ``nssdb.before``. Raises ``KvorumError``.
        """
        if not self.installed():
            raise KvorumError(
                "corosync-qdevice is missing on this node: run 'apt install corosync-qdevice' here"
            )
        if self.database.exists():
            before = self._folder / "nssdb.before"
            if self.imported() or before.exists():
                shutil.rmtree(self.database)
            else:
                self.database.rename(before)
        with tempfile.TemporaryDirectory(prefix="kvorum-qdevice-") as scratch:  # mode 0700
            authority, pair = Path(scratch) / "qnetd-cacert.crt", Path(scratch) / "qdevice-net-node.p12"
            authority.write_bytes(bundle.authority)
            pair.write_bytes(bundle.pair)
            await _run([str(self._certutil), "-i", "-c", str(authority)], TOOL_S)
            await _run([str(self._certutil), "-m", "-c", str(pair)], TOOL_S)
        (self.database / _MARK).write_text(bundle.digest)

    def forget(self) -> None:
        """Remove the database that we made; one that is not ours stays."""
        if self.imported():
            shutil.rmtree(self.database)

    async def active(self) -> bool:
        """Whether the daemon runs."""
        async with Systemd() as systemd:
            return await systemd.active_state(UNIT) in ("active", "activating", "reloading")

    async def start(self, *, anew: bool) -> None:
        """Let the daemon run now and at every boot; ``anew`` restarts one that runs."""
        async with Systemd() as systemd:
            await systemd.reset_failed(UNIT)
            await systemd.enable([UNIT])
            await (systemd.restart if anew else systemd.start)(UNIT)

    async def stop(self) -> None:
        """End the daemon, and don't start it at boot."""
        async with Systemd() as systemd:
            if (await systemd.units([UNIT]))[0].load == "not-found":
                return
            await systemd.stop(UNIT)
            await systemd.disable([UNIT])

    def running_device(self) -> str:
        """The host, algorithm and the like that this node's corosync runs with; empty without a device."""
        try:
            with Cmap() as cmap:
                items = cmap.items("quorum.device.")
        except CorosyncError:
            return ""
        return "\n".join(f"{key} {value!r}" for key, value in sorted(items.items()))


def cannot_run(command: str) -> str:
    """Why the first word of a command is no program on this node; empty when it is, or there is none."""
    if not command.strip():
        return ""
    program = Path(command.split()[0])
    if not program.is_file():
        return f"'{program}' does not exist"
    return "" if os.access(program, os.X_OK) else f"'{program}' is not executable"


async def _run(argv: Sequence[str], timeout: float) -> None:
    """Run a tool to its end; raises ``KvorumError`` with its last words."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            umask=0o022,  # the daemon's own would make a package's files unreadable
        )
    except OSError as error:
        raise KvorumError(f"{argv[0]} can't be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout):
            said, _ = await process.communicate()
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(error, TimeoutError):
            raise KvorumError(f"{argv[0]} did not end within {timeout:g} s") from None
        raise
    if process.returncode:
        words = said.decode(errors="replace").strip().splitlines()
        raise KvorumError(f"{' '.join(argv[:3])} failed: {words[-1] if words else process.returncode}")
