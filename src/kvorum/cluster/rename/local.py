"""A node's name as its operating system has it: host name, /etc/hosts, and what is filed under the name."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from kvorum.cluster.host import Host
from kvorum.cluster.rename.names import hosts
from kvorum.core import durable
from kvorum.core.paths import Paths
from kvorum.corosync import Cfg, CorosyncError
from kvorum.store import RENAMING, naming_text

_logger = logging.getLogger(__name__)


class LocalName:
    """This node's."""

    def __init__(self, paths: Paths, host: Host, etc: Path = Path("/etc")) -> None:
        self._paths, self._host, self._etc = paths, host, etc
        self._marker = paths.database.with_name(RENAMING)

    def kernel_name(self) -> str:
        """The host name as the kernel has it."""
        return socket.gethostname()

    def hostname(self) -> str:
        """The host name up to its first dot."""
        return self.kernel_name().partition(".")[0]

    def full_name(self, new: str) -> str:
        """The name with the domain that the present one has, if it has one."""
        _, dot, domain = socket.getfqdn().partition(".")
        return f"{new}{dot}{domain}" if dot and domain and domain != "localdomain" else new

    def take(self, old: str, new: str) -> None:
        """Be called ``new`` from now on, also after a reboot. Idempotent, broken off anywhere too."""
        durable.write(self._marker, naming_text(old, new).encode(), 0o644)
        file = self._etc / "hosts"
        if file.exists():
            text = file.read_text()
            changed = hosts(text, old, new)
            if changed != text:
                durable.write(file, changed.encode(), 0o644)
        domain = self.kernel_name().partition(".")[2]
        name = f"{new}.{domain}" if domain else new
        durable.write(self._etc / "hostname", f"{name}\n".encode(), 0o644)
        self.set_hostname(name)
        for history in (self._paths.run / "rrd", self._paths.state / "rrd"):
            for schema in history.iterdir() if history.is_dir() else ():
                if (schema / old).exists() and not (schema / new).exists():
                    (schema / old).rename(schema / new)

    def set_hostname(self, name: str) -> None:
        """Tell the kernel."""
        if self.kernel_name() != name:
            socket.sethostname(name)

    async def follow_corosync(self) -> None:
        """Let corosync take up what is on disk: by a reload, or by a start where it was thrown out."""
        from kvorum.cluster.following import running_version  # what follows is pvedaemon's alone

        if running_version() is None:
            await self._host.restart_corosync()
            return
        try:
            with Cfg() as cfg:
                cfg.reload()
        except CorosyncError as error:
            _logger.warning("corosync did not reload its configuration (%s): starting it anew", error)
            await self._host.restart_corosync()

    def forget_marker(self) -> None:
        """The node has one name again."""
        self._marker.unlink(missing_ok=True)
