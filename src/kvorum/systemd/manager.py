"""The system's service manager by its D-Bus interface (man page org.freedesktop.systemd1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kvorum.core.errors import KvorumError

if TYPE_CHECKING:  # the library is loaded by who connects; pveproxy knows this class and never does
    from dbus_fast import Message, Variant
    from dbus_fast.aio import MessageBus

_SERVICE = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"


class SystemdError(KvorumError):
    """systemd refused a request or a job failed; the sentence names the unit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit in systemd's own words."""

    name: str
    description: str
    load: str
    """``loaded``, ``not-found``, ``masked``, …"""
    active: str
    """``active``, ``inactive``, ``failed``, ``activating``, …"""
    sub: str
    """``running``, ``dead``, ``exited``, …"""
    file: str
    """``enabled``, ``disabled``, ``static``, ``masked``, …; ``not-found`` where there is no such unit."""


class Systemd:
    """A connection to systemd. Use as an async context manager, or call ``connect`` and ``close``."""

    def __init__(self) -> None:
        self._bus: MessageBus | None = None
        self._jobs: dict[str, asyncio.Future[str]] = {}
        self._ended: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect to the system bus; raises ``SystemdError`` when there is no systemd to talk to."""
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus

        async with AsyncExitStack() as stack:
            try:
                bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
                stack.callback(bus.disconnect)
                self._bus = bus
                bus.add_message_handler(self._signal)
                await self._call(
                    "org.freedesktop.DBus",
                    "/org/freedesktop/DBus",
                    "org.freedesktop.DBus",
                    "AddMatch",
                    "s",
                    [f"type='signal',sender='{_SERVICE}',interface='{_MANAGER}',member='JobRemoved'"],
                )
                await self._manager("Subscribe")
            except (OSError, EOFError) as error:
                raise SystemdError(f"systemd can't be reached over D-Bus: {error}") from error
            stack.pop_all()

    async def close(self) -> None:
        """Disconnect; jobs under way go on without us."""
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    async def start(self, unit: str, *, timeout: float = 90.0) -> None:
        """Start a unit and wait until it has started; raises ``SystemdError`` when it fails."""
        await self._job("StartUnit", unit, timeout)

    async def stop(self, unit: str, *, timeout: float = 90.0) -> None:
        """Stop a unit and wait until it has stopped."""
        await self._job("StopUnit", unit, timeout)

    async def restart(self, unit: str, *, timeout: float = 90.0) -> None:
        """Restart a unit (start it if it does not run) and wait for it."""
        await self._job("RestartUnit", unit, timeout)

    async def reload(self, unit: str, *, timeout: float = 90.0) -> None:
        """Let a unit read its configuration anew; raises ``SystemdError`` when it can't."""
        await self._job("ReloadUnit", unit, timeout)

    async def enqueue_restart(self, unit: str) -> None:
        """Have a unit restarted and don't wait: for the one that this very process belongs to."""
        await self._manager("RestartUnit", "ss", [unit, "replace"])

    async def power(self, target: str) -> None:
        """Begin an orderly ``reboot.target`` or ``poweroff.target``, as systemctl does."""
        await self._manager("StartUnit", "ss", [target, "replace-irreversibly"])

    async def units(self, names: Sequence[str]) -> list[Unit]:
        """The state of units, in the order asked for; those that don't exist have ``load`` not-found."""
        (rows,) = await self._manager("ListUnitsByNames", "as", [list(names)])
        found = {row[0]: row for row in rows}
        units = []
        for name in names:
            row = found.get(name, (name, "", "not-found", "inactive", "dead"))
            file = "not-found"
            if row[2] != "not-found":
                try:
                    (file,) = await self._manager("GetUnitFileState", "s", [name])
                except SystemdError:
                    file = "unknown"  # a transient unit has no file
            units.append(Unit(name, row[1], row[2], row[3], row[4], file or "unknown"))
        return units

    async def reset_failed(self, unit: str) -> None:
        """Forget earlier failures of a unit, so that its start limit does not stand in the way."""
        try:
            await self._manager("ResetFailedUnit", "s", [unit])
        except SystemdError:
            return  # a unit that is not loaded has no failure to forget

    async def active_state(self, unit: str) -> str:
        """``active``, ``inactive``, ``failed``, ``activating``, ``deactivating`` or ``reloading``."""
        (path,) = await self._manager("LoadUnit", "s", [unit])
        (value,) = await self._call(
            _SERVICE,
            str(path),
            "org.freedesktop.DBus.Properties",
            "Get",
            "ss",
            [f"{_SERVICE}.Unit", "ActiveState"],
        )
        return str(value.value)

    async def enable(self, units: Sequence[str]) -> None:
        """Let units start at boot."""
        await self._manager("EnableUnitFiles", "asbb", [list(units), False, True])
        await self._manager("Reload")

    async def disable(self, units: Sequence[str]) -> None:
        """Don't start units at boot any more."""
        await self._manager("DisableUnitFiles", "asb", [list(units), False])
        await self._manager("Reload")

    async def start_scope(
        self,
        name: str,
        pids: Sequence[int],
        *,
        description: str = "",
        properties: Mapping[str, Variant] | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Put running processes into a new scope ``name`` (ending in ``.scope``) with these properties.

        Properties are those of systemd.resource-control(5), by their D-Bus names, such as
        ``CPUWeight: Variant("t", 100)``.
        """
        from dbus_fast import Variant

        values = [["PIDs", Variant("au", list(pids))], ["Description", Variant("s", description)]]
        values += [[key, value] for key, value in (properties or {}).items()]
        await self._wait(name, "StartTransientUnit", "ssa(sv)a(sa(sv))", [name, "fail", values, []], timeout)

    async def set_properties(self, unit: str, properties: Mapping[str, Variant]) -> None:
        """Change a running unit's properties until it ends; raises ``SystemdError``."""
        values = [[key, value] for key, value in properties.items()]
        await self._manager("SetUnitProperties", "sba(sv)", [unit, True, values])

    async def _job(self, member: str, unit: str, timeout: float) -> None:
        await self._wait(unit, member, "ss", [unit, "replace"], timeout)

    async def _wait(
        self, unit: str, member: str, signature: str, body: Sequence[object], timeout: float
    ) -> None:
        (job,) = await self._manager(member, signature, body)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if job in self._ended:
            future.set_result(self._ended.pop(job))
        self._jobs[str(job)] = future
        try:
            result = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise SystemdError(f"{unit}: systemd did not finish the job within {timeout:g} s") from None
        finally:
            self._jobs.pop(str(job), None)
        if result not in ("done", "skipped"):
            raise SystemdError(f"{unit}: {member} ended as '{result}'; see 'journalctl -u {unit}'")

    async def _manager(self, member: str, signature: str = "", body: Sequence[object] = ()) -> list[Any]:
        return await self._call(_SERVICE, _PATH, _MANAGER, member, signature, body)

    async def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
    ) -> list[Any]:
        if self._bus is None:
            raise SystemdError("not connected to systemd")
        from dbus_fast import Message, MessageType

        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        reply = await asyncio.wait_for(self._bus.call(message), 30.0)
        if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
            text = reply.body[0] if reply is not None and reply.body else "no answer"
            raise SystemdError(f"systemd: {member}: {text}")
        return list(reply.body)

    def _signal(self, message: Message) -> None:
        from dbus_fast import MessageType

        if message.member != "JobRemoved" or message.message_type is not MessageType.SIGNAL:
            return
        _, job, _, result = message.body
        future = self._jobs.get(job)
        if future is None:
            self._ended[job] = result
            while len(self._ended) > 256:
                self._ended.pop(next(iter(self._ended)))
        elif not future.done():
            future.set_result(result)
