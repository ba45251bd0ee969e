"""What there is to tell of this node's guests: each one's record, its row for the API, and what it uses."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.core.remembered import RememberedEach
from kvorum.guests.config import GuestConfig
from kvorum.guests.machine.guest import RunningGuest
from kvorum.guests.machine.network import tap_name
from kvorum.guests.registry import Registry
from kvorum.guests.row import encoded_row
from kvorum.guests.statistics import GuestRecord, ProcessUsage, Traffic, cpu_share, traffic, usage


class Records:
    """The records of one node's guests; ``running`` has those whose QEMU is here."""

    def __init__(self, registry: Registry, running: Mapping[int, RunningGuest]) -> None:
        self._registry = registry
        self._running = running
        self._usage: dict[int, ProcessUsage] = {}
        self._shares: dict[int, float] = {}
        self._traffic: dict[int, Traffic] = {}
        self._switched_off: RememberedEach[int, GuestConfig, GuestRecord] = RememberedEach(_switched_off)
        self._rows: RememberedEach[int, GuestRecord, bytes] = RememberedEach(encoded_row)

    def of(self, vmid: int) -> GuestRecord:
        """A guest as all nodes are told; raises ``GuestError`` when this node has no such guest."""
        try:
            config = self._registry.config(vmid)
        except KvorumError:
            self._registry.file(vmid)
            return GuestRecord(
                vmid=vmid, name=f"VM {vmid}", status="stopped", qmpstatus="invalid configuration"
            )
        return self._record(config, self._running.get(vmid))

    def all(self) -> list[GuestRecord]:
        """All guests of this node, sorted by id."""
        vmids = self._registry.vmids()
        for kept in (self._switched_off, self._rows):
            kept.keep_only(frozenset(vmids))
        return [self.of(vmid) for vmid in vmids]

    def rows(self) -> list[tuple[int, bytes]]:
        """All guests of this node as the API lists them: id and row in JSON, made anew where it differs."""
        return [(record.vmid, self._rows.of(record.vmid, record)) for record in self.all()]

    def measure(self) -> None:
        """Look at what each running guest uses now; ``of`` tells it until the next time."""
        for vmid, guest in self._running.items():
            now = usage(guest.record.pid)
            if now is not None:
                self._shares[vmid] = cpu_share(self._usage.get(vmid), now, guest.config.cpus)
                self._usage[vmid] = now
            numbers = (int(key.removeprefix("net")) for key in guest.config.nics)
            self._traffic[vmid] = traffic(tap_name(vmid, number) for number in numbers)
        for kept in (self._usage, self._shares, self._traffic):
            for vmid in kept.keys() - self._running.keys():
                del kept[vmid]

    def _record(self, config: GuestConfig, guest: RunningGuest | None) -> GuestRecord:
        record = self._switched_off.of(config.vmid, config)
        if guest is None:
            return record
        used, moved = self._usage.get(config.vmid), self._traffic.get(config.vmid, Traffic())
        return msgspec.structs.replace(
            record,
            status="running",
            qmpstatus=guest.status,
            cpu=self._shares.get(config.vmid, 0.0),
            mem=min(used.resident_bytes, record.maxmem) if used else 0,
            diskread=used.read_bytes if used else 0,
            diskwrite=used.write_bytes if used else 0,
            netin=moved.received,
            netout=moved.sent,
            uptime=max(0, int(time.time() - guest.record.begun)),
            pid=guest.record.pid,
            machine=guest.record.machine,
            accelerator=guest.record.accelerator,
            version=guest.record.version,
        )


def _switched_off(vmid: int, config: GuestConfig) -> GuestRecord:
    """What the configuration alone says of a guest."""
    return GuestRecord(
        vmid=config.vmid,
        name=config.name,
        status="stopped",
        cpus=config.cpus,
        maxmem=config.memory_mib << 20,
        maxdisk=config.boot_disk_bytes,
        template=config.template,
        lock=config.lock or "",
        tags=config.text("tags"),
    )
