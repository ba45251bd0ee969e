"""What creating and joining do to this node: its files, and its units through systemd."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import time
from pathlib import Path

import psutil

from kvorum.cluster.admission import HostFacts
from kvorum.cluster.node_files import local_addresses
from kvorum.core import durable
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.store import REMOVED, Store
from kvorum.systemd import Systemd

COROSYNC_UNIT = "corosync.service"
STORE_UNIT = "pve-cluster.service"
PROXY_UNIT = "pveproxy.service"
AUTHKEY_BYTES = 256
BACKUPS_KEPT = 10


class Host:
    """This node, as far as a cluster's coming and going touches it."""

    def __init__(self, store: Store, paths: Paths) -> None:
        self._store = store
        self._paths = paths
        self.configuration = paths.corosync / "corosync.conf"
        self.authkey = paths.corosync / "authkey"
        self.backups = paths.database.parent / "backup"
        self.removed = paths.database.with_name(REMOVED)
        """Says, where it is there, that the cluster removed this node."""

    async def facts(self) -> HostFacts:
        """What the checks look at."""
        guests = []
        for kind, word in (("qemu-server", "VM"), ("lxc", "CT")):
            for name in self._store.names(f"nodes/{self._store.node}/{kind}"):
                if name.endswith(".conf"):
                    guests.append(f"{word} {name.removesuffix('.conf')}")
        present = self._store.read("corosync.conf") is not None or self.configuration.exists()
        return HostFacts(
            node=self._store.node,
            addresses=tuple(local_addresses()),
            authkey_present=self.authkey.exists(),
            configuration_present=present,
            corosync_running=await self._active(COROSYNC_UNIT),
            guests=tuple(guests),
            running=self.running_guests(),
        )

    async def own_address(self) -> str:
        """The address that this node's name stands for; raises ``KvorumError`` if it is none of its own."""
        here = local_addresses()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(10):
                found = await loop.getaddrinfo(self._store.node, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            found = []
        for entry in found:
            if str(entry[4][0]) in here:
                return str(entry[4][0])
        if len(here) == 1:
            return here[0]
        raise KvorumError(
            f"the name '{self._store.node}' does not stand for an address of this node ({', '.join(here)}): "
            "put it into /etc/hosts, or give --link0"
        )

    def running_guests(self) -> tuple[str, ...]:
        """The vmids of the guests whose processes run here, whatever the store says of them."""
        found = []
        for file in self._paths.guests_run.glob("*.pid"):
            try:
                pid = int(file.read_text())
            except (OSError, ValueError):
                continue
            if psutil.pid_exists(pid):
                found.append(file.stem)
        return tuple(sorted(found))

    def make_authkey(self) -> bool:
        """Make Corosync's key if there is none; return whether it was made."""
        if self.authkey.exists():
            return False
        durable.write(self.authkey, secrets.token_bytes(AUTHKEY_BYTES), 0o400)
        return True

    def write_authkey(self, key: bytes) -> None:
        """Put the cluster's key in place."""
        durable.write(self.authkey, key, 0o400)

    def write_configuration(self, text: str) -> None:
        """Replace Corosync's own copy of its configuration."""
        durable.write(self.configuration, text.encode(), 0o644)

    def remove_authkey(self) -> None:
        """Take Corosync's key away."""
        self.authkey.unlink(missing_ok=True)

    def remove_configuration(self) -> None:
        """Take Corosync's configuration away."""
        self.configuration.unlink(missing_ok=True)

    def mark_removed(self, sentence: str) -> None:
        """Make the store say that the cluster removed this node; it is read-only from its next status on."""
        durable.write(self.removed, sentence.encode() + b"\n", 0o644)

    def new_backup(self) -> str:
        """The name of a new backup directory of the database; it is made when it is needed."""
        return str(self.backups / f"config-{int(time.time())}")

    def set_database_aside(self, backup: str) -> None:
        """Move the store's database to ``backup``; the store must be stopped. Keeps the last ten.

        The database itself goes last. Once it is there, what is in place was begun since, and is dropped:
        broken off anywhere, it can be done again.
        """
        target = Path(backup)
        target.mkdir(parents=True, exist_ok=True)
        moved = (target / self._paths.database.name).exists()
        found = self._paths.database.parent.glob(self._paths.database.name + "*")
        for file in sorted(found, reverse=True):
            if moved:
                file.unlink()
            else:
                shutil.move(file, target / file.name)
        for old in sorted(self.backups.glob("config-*"))[:-BACKUPS_KEPT]:
            if old.is_dir():
                shutil.rmtree(old)

    def bring_database_back(self, backup: str) -> None:
        """Undo ``set_database_aside``, dropping what the store began since; nothing was moved: nothing done.

        What is in place is dropped with the database itself last, and moved back with the database itself
        last: broken off anywhere, it can be done again.
        """
        database = self._paths.database
        kept = {file.name: file for file in Path(backup).glob(database.name + "*")}
        if database.name in kept and database.exists():
            for file in sorted(database.parent.glob(database.name + "*"), reverse=True):
                file.unlink()
        for name in sorted(kept, reverse=True):
            shutil.move(kept[name], database.parent / name)
        shutil.rmtree(backup, ignore_errors=True)

    async def start_corosync(self) -> None:
        """Let Corosync run now and at every boot."""
        async with Systemd() as systemd:
            await systemd.reset_failed(COROSYNC_UNIT)
            await systemd.enable([COROSYNC_UNIT])
            await systemd.restart(COROSYNC_UNIT)

    async def restart_corosync(self) -> None:
        """Start Corosync anew, whatever ended it."""
        async with Systemd() as systemd:
            await systemd.reset_failed(COROSYNC_UNIT)
            await systemd.restart(COROSYNC_UNIT)

    async def pause_corosync(self) -> None:
        """End Corosync for now; it starts at boot as ever."""
        async with Systemd() as systemd:
            await systemd.stop(COROSYNC_UNIT)

    async def stop_corosync(self) -> None:
        """End Corosync, and don't start it at boot."""
        async with Systemd() as systemd:
            await systemd.stop(COROSYNC_UNIT)
            await systemd.disable([COROSYNC_UNIT])

    async def stop_store(self) -> None:
        """End the store's daemon; /etc/pve is gone until it is back."""
        async with Systemd() as systemd:
            await systemd.stop(STORE_UNIT)

    async def restart_store(self) -> None:
        """Start the store's daemon anew: it then goes by what /etc/corosync says."""
        async with Systemd() as systemd:
            await systemd.reset_failed(STORE_UNIT)
            await systemd.restart(STORE_UNIT)

    async def restart_proxy(self) -> None:
        """Let the page take up new certificates."""
        async with Systemd() as systemd:
            await systemd.restart(PROXY_UNIT)

    async def _active(self, unit: str) -> bool:
        async with Systemd() as systemd:
            return await systemd.active_state(unit) in ("active", "activating", "reloading")
