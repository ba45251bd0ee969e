"""A guest made a template: its disks become bases on which clones rest, and it never runs again.

That it is a template is written first, with the lock ``clone``; from then on it goes forward only. A next
daemon finds the lock and makes the rest of its disks bases.
"""

from __future__ import annotations

import logging

from kvorum.core.errors import KvorumError
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.copies import plan
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.snapshots import tree
from kvorum.guests.unfinished import DaemonLog
from kvorum.interface import TaskLog
from kvorum.storage import Storages

log = logging.getLogger(__name__)


class Templates:
    """The templates of this node. The caller has checked what it may."""

    def __init__(self, manager: GuestManager, storages: Storages) -> None:
        self._manager = manager
        self._registry = manager.registry
        self._store = manager.store
        self._storages = storages

    def check(self, vmid: int, disk: str = "") -> GuestConfig:
        """Raise ``KvorumError`` when the guest can't become a template; changes nothing."""
        self._manager.check_quorum()
        config = self._registry.config(vmid)
        self._manager.check_unlocked(config)
        if self._manager.running(vmid) is not None:
            raise GuestError(f"you can't convert a VM to template if VM is running: stop VM {vmid} first")
        if there := tree.snapshots(config):
            raise GuestError(
                f"unable to create template, because VM {vmid} contains snapshots "
                f"({', '.join(sorted(there))}); delete them first"
            )
        drives = plan.drives(config, "")
        if disk and disk not in drives:
            raise GuestError(f"VM {vmid} has no disk '{disk}'; it has: {', '.join(drives) or 'none'}")
        for key, each in drives.items():
            if each.volume is not None and disk in ("", key):
                kind = self._storages.of(each.volume)
                if kind.format(each.volume) not in kind.capabilities.clones:
                    raise GuestError(
                        f"{key}: storage '{kind.id}' makes no bases of format {kind.format(each.volume)} "
                        f"('{each.volume}')"
                    )
                kind.based(each.volume)
        return config

    async def make(self, vmid: int, disk: str = "", *, who: str, log: TaskLog) -> None:
        """Make a guest a template; with ``disk`` only that disk a base. Done already, nothing happens.

        Raises ``KvorumError``; it is a template then if it was noted, and what lacks can be done again.
        """
        async with self._manager.exclusive(vmid, "make it a template"):
            config = self.check(vmid, disk)
            noted = config.edit({"template": "1", "lock": plan.LOCK})
            await self._registry.replace(config, noted, who=who)
            await self._convert(noted, disk, log)

    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Finish what an earlier daemon has begun; while there is quorum."""
        for vmid in self._registry.vmids():
            try:
                if not self._begun(self._registry.config(vmid)):
                    continue
                async with self._manager.exclusive(vmid, "make it a template"):
                    config = self._registry.config(vmid)
                    if self._begun(config):
                        await self._convert(config, "", said or DaemonLog())
            except KvorumError as error:
                told = "VM %d is not wholly a template: %s; qm template %d does the rest"
                log.warning(told, vmid, error, vmid)

    @staticmethod
    def _begun(config: GuestConfig) -> bool:
        return config.template and config.lock == plan.LOCK

    async def _convert(self, config: GuestConfig, only: str, log: TaskLog) -> None:
        """Make the disks bases, and write their names, also when one can't be made."""
        bases: dict[str, str] = {}
        try:
            for key, disk in plan.drives(config, "").items():
                if disk.volume is not None and only in ("", key):
                    base = await self._storages.of(disk.volume).make_base(disk.volume)
                    bases[key] = str(Disk(str(base), disk.options))
                    log.line(f"{key}: '{base}' is a base")
        finally:
            after = config.edit(bases, frozenset({"lock"}))
            await self._registry.replace(config, after, who="root@pam")
