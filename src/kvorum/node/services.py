"""The services that the API names, and what is asked of systemd for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from kvorum.core.errors import DeadlineExceeded

if TYPE_CHECKING:
    from kvorum.systemd import Systemd, Unit

Verb = Literal["start", "stop", "restart", "reload"]

UNITS = {
    "chrony": "chrony.service",
    "corosync": "corosync.service",
    "cron": "cron.service",
    "ksmtuned": "ksmtuned.service",
    "postfix": "postfix.service",
    "pve-cluster": "pve-cluster.service",
    "pve-ha-crm": "pve-ha-crm.service",
    "pve-ha-lrm": "pve-ha-lrm.service",
    "pvedaemon": "pvedaemon.service",
    "pveproxy": "pveproxy.service",
    "spiceproxy": "spiceproxy.service",
    "sshd": "ssh.service",
    "syslog": "rsyslog.service",
    "systemd-journald": "systemd-journald.service",
    "systemd-timesyncd": "systemd-timesyncd.service",
}
"""The names users know, and Debian's units; those that are not installed are not listed."""
ESSENTIAL = frozenset({"pve-cluster", "pvedaemon", "pveproxy"})
"""Without one of these the API can't start anything again."""
STATE_DEADLINE_S = 5.0


def row(name: str, unit: Unit) -> dict[str, object]:
    """A service as the API shows it."""
    return {
        "service": name,
        "name": unit.name.removesuffix(".service"),
        "desc": unit.description or unit.name,
        "state": unit.sub,
        "active-state": unit.active,
        "unit-state": unit.file,
    }


class ServiceControl:
    """Asks systemd about services and has them started and stopped; connects when it is first used."""

    def __init__(self) -> None:
        self._systemd: Systemd | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Disconnect."""
        if self._systemd is not None:
            await self._systemd.close()
            self._systemd = None

    async def states(self, names: Iterable[str]) -> dict[str, Unit]:
        """The unit of each service; raises ``SystemdError`` or ``DeadlineExceeded``."""
        wanted = list(names)
        systemd = await self._connected()
        try:
            async with asyncio.timeout(STATE_DEADLINE_S):
                units = await systemd.units([_unit(name) for name in wanted])
        except TimeoutError:
            raise DeadlineExceeded(f"systemd did not answer within {STATE_DEADLINE_S:g} s") from None
        return dict(zip(wanted, units, strict=True))

    async def act(self, verb: Verb, name: str, say: Callable[[str], None]) -> None:
        """Start, stop, restart or reload a service and wait for it; raises ``SystemdError``."""
        systemd, unit = await self._connected(), _unit(name)
        if name == "pvedaemon" and verb in ("restart", "reload"):
            say("pvedaemon carries this task out itself: its restart begins when the task has ended")
            asyncio.get_running_loop().call_later(0.5, self._restart_self, systemd, unit)
            return
        match verb:
            case "start":
                await systemd.start(unit)
            case "stop":
                await systemd.stop(unit)
            case "restart":
                await systemd.restart(unit)
            case "reload":
                await self._reload(systemd, unit, say)

    async def power(self, target: str) -> None:
        """Begin an orderly reboot or shutdown of the node."""
        await (await self._connected()).power(target)

    async def _reload(self, systemd: Systemd, unit: str, say: Callable[[str], None]) -> None:
        from kvorum.systemd import SystemdError

        try:
            await systemd.reload(unit)
        except SystemdError as error:
            say(f"{error}; restarting it instead")
            await systemd.restart(unit)

    def _restart_self(self, systemd: Systemd, unit: str) -> None:
        self._restarting = asyncio.ensure_future(systemd.enqueue_restart(unit))

    async def _connected(self) -> Systemd:
        from kvorum.systemd import Systemd

        async with self._connecting:
            if self._systemd is None:
                systemd = Systemd()
                await systemd.connect()
                self._systemd = systemd
            return self._systemd


def _unit(name: str) -> str:
    return UNITS.get(name, f"{name}.service")
