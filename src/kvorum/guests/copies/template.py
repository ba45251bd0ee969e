"""A guest made a template: its disks become bases on which clones rest, and it never runs again.

That it is a template is written first, with the lock ``clone``; from then on it goes forward only. Who finds
the lock later, when nobody is at it, makes the rest of its disks bases.
"""

from __future__ import annotations

from kvorum.core.errors import KvorumError
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.copies import plan
from kvorum.guests.errors import GuestError
from kvorum.guests.manager import GuestManager
from kvorum.guests.settling import Settler
from kvorum.guests.snapshots import tree
from kvorum.guests.unfinished import DaemonLog
from kvorum.interface import TaskLog
from kvorum.storage import Storages


class Templates(Settler):
    """The templates of this node. The caller has checked what it may."""

    settles = "templates"

    def __init__(self, manager: GuestManager, storages: Storages) -> None:
        super().__init__(manager)
        self._registry = manager.registry
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
            try:
                await self._registry.replace(config, noted, who=who)
                await self._convert(noted, disk, log)
            except BaseException:
                self._left.set()
                raise

    # What was left

    async def settle_earlier(self, said: TaskLog | None = None) -> None:
        """Finish what an earlier daemon has begun; while there is quorum."""
        await self._settle_each(
            "a template",
            self._begun,
            lambda vmid: self._settle(vmid, said or DaemonLog()),
        )

    def _begun(self, vmid: int) -> bool:
        config = self._registry.config(vmid)
        return config.template and config.lock == plan.LOCK

    async def _settle(self, vmid: int, log: TaskLog) -> None:
        """Make the rest of one guest's disks bases. What can't be done now is said, and tried again."""
        try:
            if self._begun(vmid):
                await self._convert(self._registry.config(vmid), "", log)
        except (KvorumError, TimeoutError) as error:
            again = self._begun(vmid)
            rest = "it is tried again every minute" if again else f"'qm template {vmid}' does the rest"
            log.warn(f"VM {vmid} is not wholly a template: {error}; {rest}")
            if again:
                self._left.set()

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
