"""The target's side of a migration: what is checked, made ready, let run or taken back here.

A session lives as long as its source says so. Sessions that lost their source end by what the store says: the
guest is ours (the source committed and died): it runs; it isn't, and the time is over: it is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from kvorum.core import durable
from kvorum.core.errors import KvorumError
from kvorum.core.ids import VolumeId
from kvorum.guests.cloudinit import CloudInit
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import is_cloudinit
from kvorum.guests.errors import GuestError, MigrationFailed, QmpError
from kvorum.guests.machine.disks import blockdev, node_name
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.manager import GuestManager
from kvorum.guests.migration import network, secret
from kvorum.guests.migration.request import (
    Answer,
    DiskRequest,
    Request,
    TargetFacts,
    beside,
    copied,
    problems,
)
from kvorum.guests.registry import config_path
from kvorum.storage import StorageError, Storages
from kvorum.store import Expect, Write

log = logging.getLogger(__name__)

STORE_GRACE_S = 0.5
"""How long the source's own word is awaited once the store says that the guest is ours."""
ORPHAN_S = 180.0
"""How long a session waits for a word of its source; longer than the source's commit can take."""


@dataclass(slots=True)
class Session:
    """One guest on its way to here."""

    request: Request
    volumes: dict[str, VolumeId] = field(default_factory=dict)
    guest: RunningGuest | None = None
    watcher: asyncio.Task[None] | None = None
    done: bool = False
    resumed: bool = False


class Incoming:
    """All guests on their way to this node."""

    def __init__(self, manager: GuestManager, storages: Storages, state: Path) -> None:
        self._manager = manager
        self._storages = storages
        self._state = state / "incoming"
        self._sessions: dict[int, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def check(self, request: Request) -> list[str]:
        """Everything that stands against the guest's coming; changes nothing."""
        errors, free, missing = {}, {}, []
        for disk in request.disks:
            if disk.storage not in errors:
                errors[disk.storage], free[disk.storage] = await self._storage(disk.storage)
            if disk.shared and not errors[disk.storage]:
                volume = VolumeId.parse(disk.volid)
                path = self._storages.of(volume).path(volume)
                if not await asyncio.to_thread(path.exists):
                    missing.append(disk.volid)
        workshop = self._manager.workshop
        facts = TargetFacts(
            node=self._manager.store.node,
            version=workshop.facts.version,
            accelerator=workshop.facts.accelerator,
            reason=workshop.facts.reason,
            machine_types=workshop.facts.machine_types,
            has_spice=workshop.facts.has_spice,
            storages=errors,
            free_bytes=free,
            missing=missing,
            bridges=[b for b in set(request.bridges.values()) if workshop.launcher.bridge_exists(b)],
            busy=self._manager.running(request.vmid) is not None or request.vmid in self._sessions,
            owner=self._manager.registry.owner(request.vmid),
            memory_free_mib=psutil.virtual_memory().available >> 20,
            addresses=network.own_addresses() if request.network else (),
        )
        return problems(request, facts)

    async def prepare(self, request: Request) -> Answer:
        """Make the disks and begin a QEMU that waits. Whatever fails, nothing stays.

        Raises ``GuestError`` with everything that stands against it.
        """
        if found := await self.check(request):
            raise GuestError("; ".join(found))
        session = self._sessions[request.vmid] = Session(request)
        try:
            await self._make_disks(session)
            answer = await self._listen(session)
            session.watcher = asyncio.create_task(self._watch(session), name=f"incoming {request.vmid}")
        except BaseException:
            await asyncio.shield(self._take_back(session))
            raise
        return answer

    async def resume(self, vmid: int, token: str) -> None:
        """The source has committed: the guest is ours. Returns as soon as it runs; the rest follows.

        Raises ``GuestError``.
        """
        session = self._session(vmid, token)
        if not session.request.online:
            await self._resume(session)
        elif await self._let_run(session):
            closing = asyncio.create_task(self._close(session), name=f"arrived {vmid}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def abort(self, vmid: int, token: str) -> None:
        """The source has given up: take everything back. Nothing to do for a session that is gone."""
        session = self._sessions.get(vmid)
        if session is not None and session.request.token == token and not session.resumed:
            await self._take_back(session)

    async def recover(self, waiting: list[RunningGuest]) -> None:
        """After a restart of the daemon: finish or take back what was on its way."""
        await asyncio.to_thread(self._state.mkdir, parents=True, exist_ok=True)
        guests = {guest.vmid: guest for guest in waiting}
        for path in sorted(self._state.glob("*.json")):
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                request, volumes = msgspec.json.decode(path.read_bytes(), type=tuple[Request, dict[str, str]])
                session = Session(request, {key: VolumeId.parse(v) for key, v in volumes.items()})
                session.guest = guests.pop(request.vmid, None)
                self._sessions[request.vmid] = session
                ours = self._manager.registry.owner(request.vmid) == self._manager.store.node
                whole = session.guest is not None and session.guest.status != "inmigrate"
                if ours and (whole or not request.online):
                    await self._resume_by_store(session)
                elif ours:
                    session.resumed = True  # the guest is ours, its memory is lost: keep the disks
                    await self._end(session)
                else:
                    await self._take_back(session)
        for guest in guests.values():
            await guest.stop("its migration is not known any more")

    async def close(self) -> None:
        """The daemon ends: guests that arrived are taken in; open sessions stay for the next daemon."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        tasks = [s.watcher for s in self._sessions.values() if s.watcher]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _session(self, vmid: int, token: str) -> Session:
        session = self._sessions.get(vmid)
        if session is None or session.request.token != token:
            raise GuestError(f"VM {vmid} is not on its way to node '{self._manager.store.node}' any more")
        return session

    async def _storage(self, name: str) -> tuple[str, int]:
        """What is wrong with a storage here (empty: nothing), and its free bytes."""
        try:
            state = await self._storages.state(self._storages.config().get(name))
        except StorageError as error:
            return str(error), 0
        if state.error or state.status is None:
            return state.error or f"storage '{name}' does not answer", 0
        return "", state.status.avail

    async def _make_disks(self, session: Session) -> None:
        request = session.request
        for disk in request.disks:
            if not disk.shared:
                session.volumes[disk.key] = await self._allocate(session, disk)

    async def _allocate(self, session: Session, disk: DiskRequest) -> VolumeId:
        def reserving(volume: VolumeId | None) -> None:
            if volume is None:
                del session.volumes[disk.key]
            else:
                session.volumes[disk.key] = volume
            self._remember(session)

        vmid = session.request.vmid
        kind = self._storages.get(disk.storage)
        name = VolumeId.parse(disk.volid).name.rpartition("/")[2]
        format = disk.format if disk.format in kind.capabilities.formats else None
        try:
            # A base becomes one once it is whole, under a number that no base has.
            same = name if format == disk.format and not name.startswith("base-") else None
            return await kind.allocate(vmid, disk.size, format, same, reserving)
        except StorageError:
            return await kind.allocate(vmid, disk.size, format, reserving=reserving)

    async def _listen(self, session: Session) -> Answer:
        """Begin the QEMU that waits for memory and disks."""
        request = session.request
        volumes = {key: str(volume) for key, volume in session.volumes.items()}
        config = moved_config(request.vmid, request.config, volumes)
        template = config.template
        if template:  # its QEMU only serves the disks, which become bases once they are whole
            config = config.edit({}, frozenset({"template"}))
            volumes = {key: str(self._storages.of(v).based(v)) for key, v in session.volumes.items()}
        workshop = self._manager.workshop
        for key in session.volumes.keys() & config.disks.keys():
            if is_cloudinit(config.disks[key]):
                await CloudInit(self._storages).write(config, key)
        guest = await workshop.start(
            config,
            machine=request.machine,
            pinned=request.accelerator,
            incoming=True,
            only_disks=not request.online,
        )
        session.guest = guest
        self._manager.adopt(guest)
        await asyncio.to_thread(self._remember, session)
        folder = secret.folder(workshop.files.directory, request.vmid)
        await asyncio.to_thread(secret.write, folder, workshop.launcher, request.vmid, request.key)
        monitor, address = guest.monitor, self._address(request)
        await secret.add(monitor, folder, "server")
        for key in beside(request):
            await self._open_beside(guest, key, config.unused[key])
        disk_port = await self._export_disks(session, address) if session.volumes else 0
        if not request.online:
            return Answer(address=address, disk_port=disk_port, volumes=volumes)
        names = ["late-block-activate", "events", *(["multifd"] if request.channels else [])]
        await monitor.execute(
            "migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]}
        )
        parameters: dict[str, object] = {"tls-creds": secret.OBJECT if request.secure else ""}
        if request.channels:
            parameters["multifd-channels"] = request.channels
        await monitor.execute("migrate-set-parameters", parameters)
        await monitor.execute("migrate-incoming", {"uri": f"tcp:{_bracket(address)}:0"})
        listening = (await monitor.execute("query-migrate")).get("socket-address", [])
        ports = [int(item["port"]) for item in listening if item.get("type") == "inet"]
        if not ports:
            raise MigrationFailed(f"VM {request.vmid}: QEMU at the target does not say where it listens")
        return Answer(address=address, memory_port=ports[0], disk_port=disk_port, volumes=volumes)

    async def _open_beside(self, guest: RunningGuest, key: str, disk: Disk) -> None:
        """Have QEMU open a volume that is no drive of the guest's, for as long as it is filled."""
        drive = await self._manager.workshop.drive(guest.vmid, key, disk)
        assert drive is not None
        await guest.monitor.execute("blockdev-add", blockdev(key, disk, drive))

    async def _export_disks(self, session: Session, address: str) -> int:
        """Serve the new disks over NBD with the migration's TLS; returns the port."""
        assert session.guest is not None
        monitor = session.guest.monitor
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.bind((address, 0))
            server.listen(16)
            await monitor.give(server.fileno(), "getfd", {"fdname": "nbd-listen"})
            port = int(server.getsockname()[1])
        await monitor.execute(
            "nbd-server-start",
            {"addr": {"type": "fd", "data": {"str": "nbd-listen"}}, "tls-creds": secret.OBJECT},
        )
        for key in copied(session.request):
            export = {
                "type": "nbd",
                "id": f"export-{key}",
                "node-name": node_name(key),
                "name": node_name(key),
            }
            await monitor.execute("block-export-add", {**export, "writable": True})
        return port

    def _address(self, request: Request) -> str:
        if request.network:
            found = network.within(request.network, network.own_addresses())
            if len(found) != 1:  # it had one when this was checked
                raise GuestError(network.problem(request.network, found, self._manager.store.node))
            return found[0]
        store = self._manager.store
        return store.membership.address_of(store.node) or "127.0.0.1"

    async def _let_run(self, session: Session) -> bool:
        """The commit is acknowledged: run. Returns whether this call did it; twice is once."""
        if session.resumed:
            return False
        session.resumed = True
        guest = session.guest
        try:
            if guest is not None and session.request.online:
                if session.volumes:
                    await guest.monitor.execute("nbd-server-stop")
                if session.request.running:
                    await guest.resume()
                self._manager.workshop.note(
                    guest, msgspec.structs.replace(guest.record, incoming=False, begun=time.time())
                )
            self._manager.tell()
        except BaseException:
            session.resumed = False
            raise
        return True

    async def _close(self, session: Session) -> None:
        """The guest runs, or lies here switched off: tell the network, note it, forget the session."""
        guest = session.guest
        if guest is not None and session.request.online:
            for key in beside(session.request):
                with contextlib.suppress(QmpError):
                    await guest.monitor.execute("blockdev-del", {"node-name": node_name(key)})
            with contextlib.suppress(KvorumError):
                await guest.monitor.execute(
                    "announce-self", {"initial": 50, "max": 550, "rounds": 5, "step": 100}
                )
            with contextlib.suppress(KvorumError):
                guest.config = self._manager.registry.config(guest.vmid)
        elif guest is not None:
            await guest.stop("its disks have arrived")
            if GuestConfig.parse(guest.vmid, session.request.config).template:
                for volume in session.volumes.values():
                    await self._storages.of(volume).make_base(volume)
        await self._end(session)
        if session.volumes and session.request.online:
            await self._manager.trim(session.request.vmid, log.info)

    async def _resume(self, session: Session) -> None:
        if await self._let_run(session):
            await self._close(session)

    async def _resume_by_store(self, session: Session) -> None:
        """The store says the guest is ours, the source is silent: make sure everybody has it so, run."""
        vmid = session.request.vmid
        file = self._manager.registry.file(vmid)
        # An acknowledged write after the move proves that the move is acknowledged too: one total order.
        await self._manager.store.transact([Write(file.path, file.data)], [Expect(file.path, file.version)])
        log.warning("VM %d: taken over without a word from '%s'", vmid, session.request.source)
        await self._resume(session)

    async def _watch(self, session: Session) -> None:
        """End the session by what happens: QEMU's end, the store, or a source that stays silent."""
        guest, vmid = session.guest, session.request.vmid
        assert guest is not None
        word = asyncio.create_task(self._until_decided(session))
        ended = asyncio.create_task(guest.process.ended.wait())
        try:
            while not (word.done() or ended.done()):
                await asyncio.wait({word, ended}, timeout=ORPHAN_S, return_when=asyncio.FIRST_COMPLETED)
                if not (word.done() or ended.done()) and await self._orphaned(session):
                    log.warning(
                        "VM %d: '%s' went silent; taking back what was made", vmid, session.request.source
                    )
                    await self._take_back(session)
                    return
            if not word.done() or not word.result():
                if not session.resumed:
                    await self._take_back(session)
                return
            await asyncio.sleep(STORE_GRACE_S)
            if not session.resumed and not session.done:
                await self._resume_by_store(session)
        except KvorumError as error:
            log.error("VM %d: on its way to here: %s", vmid, error)
        finally:
            for task in (word, ended):
                task.cancel()
            await asyncio.gather(word, ended, return_exceptions=True)

    async def _orphaned(self, session: Session) -> bool:
        """Whether the source is gone, or has sent all its memory long ago and says nothing."""
        members = {m.name: m.online for m in self._manager.store.membership.members}
        if not members.get(session.request.source, False):
            return True
        assert session.guest is not None
        return session.request.online and await session.guest.refresh() != "inmigrate"

    async def _until_decided(self, session: Session) -> bool:
        """Wait for the store's word: true, this node owns the guest; false, its source let go of its lock.

        The lock was taken before we were asked. So its end means that the source, or its next daemon, has
        given up, whether or not it could tell us.
        """
        store, vmid = self._manager.store, session.request.vmid
        here, there = config_path(store.node, vmid), config_path(session.request.source, vmid)
        watch = store.watch("nodes")
        locked = False
        while store.read(here) is None:
            file = store.read(there)
            now = file is not None and _is_locked(file.text)
            if locked and file is not None and not now:
                return False
            locked = locked or now
            await anext(watch)
        return True

    async def _take_back(self, session: Session) -> None:
        """Remove what was made for a guest that doesn't come."""
        if session.done:
            return
        if session.guest is not None:
            with contextlib.suppress(KvorumError):
                await session.guest.stop("its migration was given up")
        for volume in session.volumes.values():
            with contextlib.suppress(KvorumError):
                await self._storages.of(volume).free(volume)
        await self._end(session)

    async def _end(self, session: Session) -> None:
        session.done = True
        vmid = session.request.vmid
        if session.guest is not None and session.resumed and session.request.online:
            await secret.forget(session.guest.monitor)
        secret.remove(secret.folder(self._manager.workshop.files.directory, vmid))
        await asyncio.to_thread(durable.remove, self._state / f"{vmid}.json")
        self._sessions.pop(vmid, None)
        if session.watcher is not None and session.watcher is not asyncio.current_task():
            session.watcher.cancel()

    def _remember(self, session: Session) -> None:
        """Note on disk what has been made, so that even a reboot doesn't leave it behind."""
        request = msgspec.structs.replace(session.request, key="")
        data = msgspec.json.encode((request, {key: str(v) for key, v in session.volumes.items()}))
        durable.write(self._state / f"{request.vmid}.json", data)


def moved_config(vmid: int, text: str, volumes: dict[str, str]) -> GuestConfig:
    """The configuration as the target has it: without the lock, copied disks under their new names."""
    config = GuestConfig.parse(vmid, text)
    changes = {}
    for key, volid in volumes.items():
        disk = {**config.disks, **config.unused}[key]
        changes[key] = ",".join([volid, *(f"{name}={value}" for name, value in disk.options.items())])
    return config.edit(changes, frozenset({"lock"}) & config.settings.keys())


def _is_locked(text: str) -> bool:
    """Whether a configuration, also one that is wrong elsewhere, says that a migration is under way."""
    return re.search(r"^lock:\s*migrate\s*$", text, re.MULTILINE) is not None


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address
