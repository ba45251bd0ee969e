"""What source and target say to each other, and the pure check of one against the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import carries_itself
from kvorum.guests.machine import spice
from kvorum.guests.migration import network


class DiskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of the guest that moves. Bytes."""

    key: str
    volid: str
    storage: str
    """The storage at the target."""
    format: str
    size: int
    shared: bool
    """The target sees the same volume: nothing is copied."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that wants to come."""

    vmid: int
    source: str
    token: str
    """Names this one migration: later calls must carry it."""
    config: str
    """The configuration's text as it is at the source."""
    online: bool
    running: bool = True
    """The guest's CPUs run; paused, it stays so at the target."""
    disks: list[DiskRequest] = []
    bridges: dict[str, str] = {}
    """Network cards and their bridges."""
    machine: str = ""
    accelerator: str = ""
    version: str = ""
    memory_mib: int = 0
    key: str = ""
    """The pre-shared key of this migration's TLS, in hex."""
    secure: bool = True
    """The memory goes under TLS. Disks always do: theirs is the longer way, and costs little."""
    network: str = ""
    """Where the target is to listen, as CIDR; empty: at its address in the cluster."""
    channels: int = 0
    """How many channels the memory takes beside the first one (multifd); 0: none."""


def copied(request: Request) -> list[str]:
    """The drives whose content is copied from node to node, by key."""
    return [
        disk.key
        for disk in request.disks
        if not disk.shared and not carries_itself(disk.key, Disk.parse(disk.volid), running=request.online)
    ]


def plugged(request: Request) -> list[str]:
    """Those of ``copied`` that the guest's QEMU has open: unused volumes it has not."""
    return [key for key in copied(request) if not key.startswith("unused")]


def beside(request: Request) -> list[str]:
    """Those of ``copied`` that the guest's QEMU does not know."""
    return [key for key in copied(request) if key.startswith("unused")]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Where the target listens, and what the disks are called there."""

    address: str
    memory_port: int = 0
    disk_port: int = 0
    volumes: dict[str, str] = {}
    """Disk key to volume id, of copied disks."""


class TargetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the target knows of itself when it judges a request."""

    node: str
    version: str
    accelerator: str
    reason: str
    machine_types: Collection[str]
    storages: Mapping[str, str]
    """What is wrong with each storage asked for; the empty text: nothing."""
    free_bytes: Mapping[str, int]
    missing: Collection[str] = ()
    """Shared volumes that are not seen here."""
    bridges: Collection[str]
    """Those of the bridges asked for that exist."""
    busy: bool = False
    """A process of this VM id runs here."""
    owner: str | None = None
    """Who owns the VM id, by the store."""
    memory_free_mib: int = 0
    addresses: Collection[str] = ()
    """Its own, on all its networks."""
    has_spice: bool = True
    """Whether its QEMU has a display by SPICE."""


def problems(request: Request, facts: TargetFacts) -> list[str]:
    """Everything that stands against the guest's coming, each a sentence; empty: it may come."""
    found: list[str] = []
    if facts.busy:
        found.append(f"a process of VM {request.vmid} runs on node '{facts.node}' already; end it first")
    if facts.owner != request.source:
        found.append(f"VM {request.vmid} belongs to node '{facts.owner}', not to '{request.source}'")
    for storage in sorted({disk.storage for disk in request.disks}):
        if problem := facts.storages.get(storage, "unknown"):
            found.append(f"node '{facts.node}': {problem}")
    for volid in sorted(facts.missing):
        found.append(f"volume '{volid}' is on a shared storage, but node '{facts.node}' does not see it")
    needed: dict[str, int] = {}
    for disk in request.disks:
        if not disk.shared:
            needed[disk.storage] = needed.get(disk.storage, 0) + disk.size
    for storage, size in sorted(needed.items()):
        free = facts.free_bytes.get(storage, 0)
        if not facts.storages.get(storage, "unknown") and size > free:
            found.append(
                f"storage '{storage}' on node '{facts.node}' has no room: "
                f"{_gib(size)} needed, {_gib(free)} free"
            )
    if request.network and (lacking := network.problem(request.network, facts.addresses, facts.node)):
        found.append(lacking)
    for key, bridge in sorted(request.bridges.items()):
        if bridge not in facts.bridges:
            found.append(f"{key}: bridge '{bridge}' does not exist on node '{facts.node}'; create it there")
    if request.online:
        found += _machine_problems(request, facts)
    return found


def _machine_problems(request: Request, facts: TargetFacts) -> list[str]:
    found = []
    if request.machine not in facts.machine_types:
        found.append(
            f"QEMU {facts.version} on node '{facts.node}' can't make the machine '{request.machine}' "
            f"(here: QEMU {request.version}); upgrade it"
        )
    if request.accelerator == "kvm" and facts.accelerator != "kvm":
        found.append(f"the guest runs with KVM, which node '{facts.node}' does not have: {facts.reason}")
    if spice.wanted(GuestConfig.parse(request.vmid, request.config)) and not facts.has_spice:
        found.append(
            f"the guest has a display by SPICE, which QEMU on node '{facts.node}' can't make: "
            f"install {spice.PACKAGE} there and restart pvedaemon"
        )
    if request.memory_mib > facts.memory_free_mib:
        found.append(
            f"node '{facts.node}' has {facts.memory_free_mib} MiB of memory free; "
            f"the guest has {request.memory_mib} MiB"
        )
    return found


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.2f} GiB"
