"""Where things lie on a node: the known places of an installed system, or all under one directory.

``kvorum serve`` and the tests run under a directory of their own as an ordinary user; nothing else in the
code spells an absolute path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one node."""

    etc_pve: Path
    """Where the configuration store is mounted as a file system."""
    corosync: Path
    """Corosync's own directory (corosync.conf, authkey)."""
    database: Path
    """The store's SQLite file."""
    run: Path
    """Sockets and what may be lost at a reboot."""
    guests_run: Path
    """Each running guest's sockets and pid file."""
    state: Path
    """What must outlive a reboot and is this node's alone."""
    log: Path
    """Task logs and their index live in ``log/tasks``."""

    @classmethod
    def system(cls) -> Paths:
        """The places of an installed node, as users know them."""
        return cls(
            etc_pve=Path("/etc/pve"),
            corosync=Path("/etc/corosync"),
            database=Path("/var/lib/pve-cluster/config.db"),
            run=Path("/run/kvorum"),
            guests_run=Path("/run/qemu-server"),
            state=Path("/var/lib/kvorum"),
            log=Path("/var/log/pve"),
        )

    @classmethod
    def under(cls, root: Path) -> Paths:
        """Everything under one directory: for ``kvorum serve`` as an ordinary user, and for tests."""
        return cls(
            etc_pve=root / "pve",
            corosync=root / "corosync",
            database=root / "config.db",
            run=root / "run",
            guests_run=root / "run" / "qemu",
            state=root / "state",
            log=root / "log",
        )

    @property
    def store_socket(self) -> Path:
        """Where pve-cluster answers local daemons (root:www-data, 0660)."""
        return self.run / "store.sock"

    @property
    def daemon_socket(self) -> Path:
        """Where pvedaemon answers HTTP to pveproxy and to root's commands (root:www-data, 0660)."""
        return self.run / "pvedaemon.sock"

    @property
    def audit_log(self) -> Path:
        """Who changed what, a JSON line each (root, 0640)."""
        return self.log / "audit.log"
