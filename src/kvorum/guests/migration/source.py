"""The source's side of a migration: carries out the steps of ``sequence``, and measures.

Cancelled by the user, it backs out like after any failure, except from the moment on where the guest stands
still: there the next decision, some milliseconds away, is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import is_cloudinit
from kvorum.guests.errors import GuestError, MigrationFailed
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.machine.peripherals import TPM_BYTES
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration import secret
from kvorum.guests.migration.memory import Memory, finish_disks, give_up_disks, mirror_disks, nbd_targets
from kvorum.guests.migration.offline import copy_disks
from kvorum.guests.migration.request import Answer, DiskRequest, Request, beside, copied, plugged
from kvorum.guests.migration.sequence import Do, Outcome, State, begin, step
from kvorum.guests.migration.target import moved_config
from kvorum.guests.migration.wish import Wish
from kvorum.guests.registry import config_path
from kvorum.guests.snapshots import tree
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Peers, TaskLog
from kvorum.storage import Storages
from kvorum.store import Expect, MakeDirectory, Operation, Rename, Write

CALL_DEADLINE_S = 60.0
COMMIT_TIMEOUT_S = 20.0
RESUME_DEADLINE_S = 10.0
SETTLE_PAUSE_S = 1.0
MOST_NAMED = 3
MULTIFD_FROM_MIB = 8192
"""Guests with less memory are through before more channels pay off."""
_HASTE = frozenset({Do.FINISH_DISKS, Do.FINISH_MEMORY, Do.COMMIT, Do.RESUME_TARGET, Do.STOP_SOURCE})


@dataclass(frozen=True, slots=True)
class Services:
    """What a migration works with."""

    manager: GuestManager
    storages: Storages
    peers: Peers
    unfinished: Unfinished


class Migration:
    """One guest's way from here to another node."""

    def __init__(self, services: Services, wish: Wish, log: TaskLog) -> None:
        self._s = services
        self._wish = wish
        self._log = log
        self._manager = services.manager
        self._guest: RunningGuest | None = services.manager.running(wish.vmid)
        self._token = secrets.token_hex(16)
        self._version = 0
        self._answer: Answer | None = None
        self._memory: Memory | None = None
        self._ended_at: list[tuple[Do, float]] = []
        self._began = time.monotonic()
        self._request = self._make_request()

    async def run(self) -> None:
        """Move the guest. Raises ``MigrationFailed`` saying why and where the guest is now."""
        local = any(not disk.shared for disk in self._request.disks)
        state = begin(online=self._request.online, local_disks=local)
        cancelled = False
        vmid = self._wish.vmid
        moving = [VolumeId.parse(disk.volid) for disk in self._request.disks if not disk.shared]
        async with (
            self._manager.exclusive(vmid, f"migrate to {self._wish.target}"),
            self._s.unfinished.undertaking(vmid, "migration", volumes=moving, log=self._log),
        ):
            while (current := state.current) is not None:
                outcome, reason, was_cancelled = await self._attempt(state, current)
                cancelled = cancelled or was_cancelled
                state = step(state, outcome, reason)
                if was_cancelled and not (state.backing_out or state.committed):
                    state = replace(state, reason="cancelled by the user")
        self._tell_end(state)
        if cancelled:
            raise asyncio.CancelledError
        if not state.committed:
            raise MigrationFailed(
                f"VM {self._wish.vmid} was not migrated: {state.reason}; "
                f"it stays on '{self._manager.store.node}'"
            )

    async def _attempt(self, state: State, current: Do) -> tuple[Outcome, str, bool]:
        """Carry out one step; what it raises becomes its outcome, a cancellation too."""
        if current not in (Do.CHECK, Do.LOCK, Do.COMMIT, Do.STOP_SOURCE, Do.RESUME_TARGET):
            self._log.line(current.value)
        task = asyncio.create_task(self._carry_out(current))
        cancelled = False
        protected = state.backing_out or state.committed or current in _HASTE
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cancelled = True
                if not protected and not task.done():
                    task.cancel()
                    await asyncio.wait({task})
            except Exception:
                break
        if task.cancelled():
            return Outcome.FAILED, "cancelled by the user", True
        error = task.exception()
        if error is None:
            self._ended_at.append((current, time.monotonic()))
            return Outcome.DONE, "", cancelled
        expected = isinstance(error, KvorumError)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        if state.backing_out or state.committed:
            self._log.warn(f"{current.value}: {reason}")
        unknown = current in (Do.COMMIT, Do.SETTLE) and (not expected or isinstance(error, OutcomeUnknown))
        return (Outcome.UNKNOWN if unknown else Outcome.FAILED), reason, cancelled

    async def _carry_out(self, do: Do) -> None:
        match do:
            case Do.CHECK:
                await self.check()
            case Do.LOCK:
                await self._lock()
            case Do.PREPARE:
                await self._prepare()
            case Do.MIRROR:
                await self._lay_down_key()
                guest, answer = self._need()
                await self._copy_beside()
                targets = nbd_targets(answer, plugged(self._request))
                await mirror_disks(guest.monitor, targets, self._alive, self._log, self._wish.rate_kib_s)
            case Do.COPY:
                await self._copy()
            case Do.SEND:
                await self._lay_down_key()
                await self._send()
            case Do.FINISH_DISKS:
                guest, answer = self._need()
                await finish_disks(guest.monitor, plugged(self._request))
            case Do.FINISH_MEMORY:
                assert self._memory is not None
                await self._memory.finish()
            case Do.COMMIT:
                await self._commit()
            case Do.SETTLE:
                await self._settle()
            case Do.RESUME_TARGET:
                await self._resume_target()
            case Do.STOP_SOURCE:
                guest, _ = self._need()
                await guest.stop(f"migrated to '{self._wish.target}'")
                self._forget_key()
            case Do.FREE_DISKS:
                await self._free()
            case _:
                await self._undo(do)

    async def _prepare(self) -> None:
        raw = await self._call("prepare", {"request": msgspec.json.encode(self._request).decode()})
        self._answer = msgspec.convert(raw, Answer)
        if network := self._request.network:
            self._log.line(f"memory and disks go to {self._answer.address}, in the network {network}")

    async def _resume_target(self) -> None:
        await self._call("resume", {}, RESUME_DEADLINE_S)
        if self._memory is not None:
            self._memory.resumed()

    async def _undo(self, do: Do) -> None:
        guest = self._guest
        match do:
            case Do.CANCEL_MEMORY if guest is not None and self._memory is not None:
                await self._memory.cancel()
            case Do.CANCEL_DISKS if guest is not None:
                await give_up_disks(guest.monitor, plugged(self._request))
            case Do.ABORT_TARGET:
                await self._call("abort", {}, 30.0)
            case Do.RESUME_SOURCE if guest is not None:
                if self._request.running and await guest.refresh() != "running":
                    await guest.resume()
            case Do.UNLOCK:
                await self._manager.registry.edit(
                    self._wish.vmid, {}, frozenset({"lock"}), who=self._wish.who
                )
                if guest is not None:
                    await secret.forget(guest.monitor)
                self._forget_key()

    async def check(self) -> None:
        """Check everything here and at the target; changes nothing. Raises ``GuestError``."""
        store, wish = self._manager.store, self._wish
        self._manager.check_quorum()
        config = self._manager.registry.config(wish.vmid)
        self._manager.check_unlocked(config)
        if wish.target == store.node:
            raise GuestError(f"VM {wish.vmid} is on node '{wish.target}' already")
        if wish.target not in {m.name for m in store.membership.members}:
            raise GuestError(f"node '{wish.target}' is not in the cluster")
        self._check_alive()
        if self._manager.running(wish.vmid) is not self._guest:
            raise GuestError(f"VM {wish.vmid} was started or stopped meanwhile; try again")
        local = [
            d.volid for d in self._request.disks if not d.shared and not is_cloudinit(Disk.parse(d.volid))
        ]
        if local and self._request.online and not wish.with_local_disks:
            raise GuestError(
                f"can't migrate VM {wish.vmid} while it runs: it has local disks ({', '.join(local)}); "
                "use --with-local-disks to copy them along"
            )
        if (held := config.host_usbs) and self._request.online:
            raise GuestError(
                f"can't migrate VM {wish.vmid} while it runs: {', '.join(held)} are devices of this "
                "node; remove them first, or migrate it switched off"
            )
        if config.template:
            await self._check_nothing_rests_on_it()
        kept = [v for v in tree.volumes(config) if not self._s.storages.of(v).capabilities.shared]
        if kept:
            raise GuestError(
                f"can't migrate VM {wish.vmid}: its snapshots lie on this node alone ('{kept[0]}'), and a "
                "copied disk leaves them behind; delete them, or move its disks to a shared storage first"
            )
        serial = [key for key, value in config.serials.items() if value != "socket"]
        if serial and self._request.online:
            raise GuestError(
                f"can't migrate VM {wish.vmid} while it runs: {serial[0]} is a device of this node"
            )
        found = await self._call("check", {"request": msgspec.json.encode(self._request).decode()})
        if isinstance(found, list) and found:
            raise GuestError("; ".join(str(text) for text in found))

    async def _check_nothing_rests_on_it(self) -> None:
        """A template's disks that lie on this node alone stay where their linked clones are."""
        for disk in self._request.disks:
            volume = VolumeId.parse(disk.volid)
            if disk.shared or not (clones := await self._s.storages.of(volume).clones(volume)):
                continue
            named = ", ".join(f"'{clone}'" for clone in clones[:MOST_NAMED])
            more = f" and {len(clones) - MOST_NAMED} more" if len(clones) > MOST_NAMED else ""
            raise GuestError(
                f"can't migrate template VM {self._wish.vmid}: its disk '{volume}' lies on this node alone, "
                f"and {named}{more} rest on it; move its clones' disks elsewhere, or remove them first"
            )

    def _make_request(self) -> Request:
        wish, guest = self._wish, self._guest
        file = self._manager.registry.file(wish.vmid)
        config = GuestConfig.parse(wish.vmid, file.text, file.path)
        if guest is not None and not wish.online:
            raise GuestError(f"can't migrate running VM {wish.vmid} without --online")
        record = guest.record if guest is not None else None
        big = config.memory_mib >= MULTIFD_FROM_MIB
        return Request(
            vmid=wish.vmid,
            source=self._manager.store.node,
            token=self._token,
            config=file.text,
            online=guest is not None,
            running=guest is not None and guest.status == "running",
            disks=self._disks(config),
            bridges={key: nic.bridge for key, nic in config.nics.items() if nic.bridge},
            machine=record.machine if record else "",
            accelerator=record.accelerator if record else "",
            version=record.version if record else "",
            memory_mib=config.memory_mib,
            key=secret.new_key(),
            secure=wish.secure,
            network=wish.network,
            channels=min(4, config.cpus + 1) if big else 0,
        )

    def _disks(self, config: GuestConfig) -> list[DiskRequest]:
        found = []
        for key, disk in {**config.disks, **config.unused}.items():
            volume = disk.volume
            if volume is None or disk.file in ("none", "cdrom"):
                continue
            entry = self._s.storages.config().get(volume.storage)
            there = self._wish.storage(volume.storage)
            kind = self._s.storages.open(entry)
            seen = kind.capabilities.shared and there == volume.storage
            shared = seen or (disk.is_cdrom and not is_cloudinit(disk))
            found.append(
                DiskRequest(
                    key=key,
                    volid=str(volume),
                    storage=there,
                    format=kind.format(volume),
                    size=disk.size_bytes or 0,
                    shared=shared,
                )
            )
        return found

    async def _lock(self) -> None:
        file = self._manager.registry.file(self._wish.vmid)
        await self._measure_disks()
        await self._manager.registry.edit(
            self._wish.vmid, {"lock": "migrate"}, who=self._wish.who, digest=file.digest
        )
        self._version = self._manager.registry.file(self._wish.vmid).version

    async def _measure_disks(self) -> None:
        """Take the copied disks' true sizes from their storage: the note in the configuration may be old."""
        disks = []
        for disk in self._request.disks:
            if not disk.shared:
                volume = VolumeId.parse(disk.volid)
                size = await asyncio.wait_for(self._s.storages.of(volume).size(volume), CALL_DEADLINE_S)
                if disk.key == "tpmstate0":
                    size = max(size, TPM_BYTES)  # swtpm cuts its file to what it needs
                disk = msgspec.structs.replace(disk, size=size)
            disks.append(disk)
        self._request = msgspec.structs.replace(self._request, disks=disks)

    async def _lay_down_key(self) -> None:
        guest, _ = self._need()
        workshop = self._manager.workshop
        folder = secret.folder(workshop.files.directory, self._wish.vmid)
        if not await asyncio.to_thread(folder.exists):
            await asyncio.to_thread(
                secret.write, folder, workshop.launcher, self._wish.vmid, self._request.key
            )
            await secret.add(guest.monitor, folder, "client")

    def _forget_key(self) -> None:
        secret.remove(secret.folder(self._manager.workshop.files.directory, self._wish.vmid))

    async def _send(self) -> None:
        guest, answer = self._need()
        config = self._manager.registry.config(self._wish.vmid)
        self._memory = Memory(guest.monitor, self._log, self._alive)
        downtime_ms = int(float(config.text("migrate_downtime", "0.1")) * 1000)
        limits_kib_s = (self._wish.rate_kib_s, config.number("migrate_speed", 0) << 10)
        await self._memory.send(
            answer.address,
            answer.memory_port,
            channels=self._request.channels,
            downtime_ms=downtime_ms,
            rate_bytes_s=min(filter(None, limits_kib_s), default=0) * 1024,
            secure=self._wish.secure,
        )

    async def _copy(self) -> None:
        assert self._answer is not None
        folder = secret.folder(self._manager.workshop.files.directory, self._wish.vmid)
        workshop = self._manager.workshop
        await asyncio.to_thread(secret.write, folder, workshop.launcher, self._wish.vmid, self._request.key)
        try:
            await self._copy_disks(copied(self._request), folder)
        finally:
            secret.remove(folder)

    async def _copy_beside(self) -> None:
        """A running guest's unused volumes, by qemu-img: its QEMU does not know them."""
        if keys := beside(self._request):
            folder = secret.folder(self._manager.workshop.files.directory, self._wish.vmid)
            await self._copy_disks(keys, folder)

    async def _copy_disks(self, keys: Sequence[str], folder: Path) -> None:
        assert self._answer is not None
        await copy_disks(
            self._request, keys, self._answer, self._s.storages, folder, self._log, self._wish.rate_kib_s
        )

    async def _commit(self) -> None:
        """Move the configuration: all at once, and only if nobody touched it since it was locked."""
        store, vmid = self._manager.store, self._wish.vmid
        source, target = config_path(store.node, vmid), config_path(self._wish.target, vmid)
        volumes = dict(self._answer.volumes) if self._answer else {}
        text = moved_config(vmid, self._request.config, volumes).document.render()
        operations: list[Operation] = [Rename(source, target), Write(target, text.encode())]
        if "qemu-server" not in store.names(f"nodes/{self._wish.target}"):
            operations.insert(0, MakeDirectory(f"nodes/{self._wish.target}/qemu-server"))
        expect = [Expect(source, self._version)]
        try:
            await store.transact(operations, expect, who=self._wish.who, timeout=COMMIT_TIMEOUT_S)
        except (NoQuorum, Conflict):
            raise
        except (KvorumError, OSError, TimeoutError) as error:
            raise OutcomeUnknown(str(error)) from error

    async def _settle(self) -> None:
        """Find out what became of the commit; see ``settle`` below."""
        await settle(self._manager, self._wish.vmid, self._version, self._wish.target)

    async def _free(self) -> None:
        for disk in self._request.disks:
            if not disk.shared:
                volume = VolumeId.parse(disk.volid)
                await self._s.storages.of(volume).free(volume)

    async def _call(
        self, what: str, parameters: Mapping[str, object], deadline_s: float = CALL_DEADLINE_S
    ) -> object:
        node = self._wish.target
        path = f"/kvorum/nodes/{node}/incoming/{self._wish.vmid}/{what}"
        values = parameters or {"token": self._token}
        return await self._s.peers.call(node, "POST", path, values, timeout=deadline_s)

    def _need(self) -> tuple[RunningGuest, Answer]:
        if self._guest is None or self._answer is None:
            raise MigrationFailed("the guest does not run or the target was not prepared")
        return self._guest, self._answer

    def _alive(self) -> None:
        """Raise ``MigrationFailed`` when the target has left the cluster."""
        self._check_alive()

    def _check_alive(self) -> None:
        members = {m.name: m.online for m in self._manager.store.membership.members}
        if not members.get(self._wish.target, False):
            raise MigrationFailed(f"node '{self._wish.target}' is offline")

    def _tell_end(self, state: State) -> None:
        seconds = time.monotonic() - self._began
        if not state.committed:
            return
        self._log.line("steps: " + durations(self._began, self._ended_at))
        downtime = ""
        if self._memory is not None:
            downtime = f", downtime {self._memory.downtime_ms} ms"
            self._log.line(self._memory.standstill(self._ended_at))
        self._log.line(f"migration finished successfully (duration {seconds:.1f} s){downtime}")


def durations(began: float, ended_at: Sequence[tuple[Do, float]]) -> str:
    """How long each step took, in order."""
    starts = [began, *(end for _, end in ended_at)]
    return ", ".join(
        f"{do.value} {(end - start) * 1000:.0f} ms"
        for (do, end), start in zip(ended_at, starts, strict=False)
    )


async def settle(manager: GuestManager, vmid: int, version: int, target: str) -> None:
    """Find out whether a commit of unknown fate happened, and keep it from happening later.

    Returns when it did. Raises ``MigrationFailed`` when it did not and never will, ``OutcomeUnknown`` while
    the store can't say.
    """
    store = manager.store
    path = config_path(store.node, vmid)
    memberships = store.watch_membership()
    async for membership in memberships:
        if membership.quorate:
            break
    file = store.read(path)
    with contextlib.suppress(Conflict):
        if file is not None and file.version == version:
            try:
                await store.transact([Write(path, file.data)], [Expect(path, version)])
            except (NoQuorum, OutcomeUnknown) as error:
                await asyncio.sleep(SETTLE_PAUSE_S)  # the membership is changing; ask again a little later
                raise OutcomeUnknown(str(error)) from error
            raise MigrationFailed(f"VM {vmid} was not handed over to '{target}'")
    if store.read(path) is not None:
        raise MigrationFailed(f"the configuration of VM {vmid} was changed by another user meanwhile")
