"""How a guest's QEMU is begun: what it runs as, what its cards hang on, where its process is kept.

``SystemLauncher`` is an installed node's: a uid of the guest's own, a systemd scope ``VMID.scope`` in
``qemu.slice``, taps in bridges. ``PlainLauncher`` is for ``kvorum serve`` and tests: the caller's own
user, no systemd, QEMU's own NAT instead of bridges.
"""

from __future__ import annotations

import grp
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvorum.guests.config import GuestConfig, Nic
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import network
from kvorum.guests.machine.cards import Link
from kvorum.guests.machine.process import Identity
from kvorum.systemd import Systemd

if TYPE_CHECKING:
    from dbus_fast import Variant

HOST_UNIT = "pve-guests.service"
"""Shuts the guests down with their host. What is ordered before it is ended only after it has."""
UID_BASE = 0x7000_0000
"""Guests' uids begin here. systemd.io/UIDS-GIDS: unassigned, above containers', below foreign ones."""
UID_COUNT = 0x7FFE_0000 - UID_BASE
LIMITS = ("cpulimit", "cpuunits")
"""Settings that the guest's scope keeps."""
DEFAULT_WEIGHT = 100
"""systemd's own."""


def guest_uid(vmid: int) -> int:
    """The uid (and gid) of a guest's QEMU; the same on every node, so that shared disks keep their owner.

    Two guests share a uid only when their ids differ by a multiple of 268,304,384.
    """
    return UID_BASE + vmid % UID_COUNT


class Launcher(ABC):
    """What differs between an installed node and an ordinary user's machine."""

    @abstractmethod
    def identity(self, vmid: int) -> Identity | None:
        """Who the guest's QEMU runs as; ``None``: as we do."""

    @abstractmethod
    def bridge_exists(self, bridge: str) -> bool:
        """Whether a card can be plugged into this bridge here."""

    @abstractmethod
    async def open_link(self, vmid: int, key: str, nic: Nic) -> Link:
        """What one card hangs on; the caller closes the descriptors. Raises ``GuestError``."""

    async def open_links(self, config: GuestConfig) -> dict[str, Link]:
        """What the guest's cards hang on, as ``open_link``."""
        links: dict[str, Link] = {}
        try:
            for key, nic in config.nics.items():
                links[key] = await self.open_link(config.vmid, key, nic)
        except BaseException:
            close_links(links)
            raise
        return links

    @abstractmethod
    async def admit(self, config: GuestConfig, pids: Sequence[int]) -> None:
        """Put the processes where they belong, before the guest runs. Raises ``KvorumError``."""

    async def limit(self, config: GuestConfig) -> None:
        """Hold a running guest to its limits, or to none. Raises ``KvorumError``."""
        return

    def unlimited(self, config: GuestConfig) -> str:
        """Which of the guest's limits can't be kept on this machine, and why, as a sentence; empty: none."""
        wanted = [key for key in LIMITS if key in config.settings]
        return f"{' and '.join(wanted)} need a node with systemd" if wanted else ""

    def own(self, vmid: int, path: Path, mode: int = 0o600) -> None:
        """Give a file or directory to the guest's QEMU, and to nobody else."""
        identity = self.identity(vmid)
        try:
            if identity is not None:
                os.chown(path, identity.uid, identity.gid)
            path.chmod(mode)
        except OSError as error:
            raise GuestError(f"'{path}' can't be given to VM {vmid}: {error.strerror}") from error


class PlainLauncher(Launcher):
    """As an ordinary user: no uid change, no scope, user networking."""

    def identity(self, vmid: int) -> Identity | None:
        return None

    def bridge_exists(self, bridge: str) -> bool:
        return True

    async def open_link(self, vmid: int, key: str, nic: Nic) -> Link:
        if "tag" in nic.options or "trunks" in nic.options:
            raise GuestError(f"{key}: there are no VLANs without bridges; remove 'tag' and 'trunks'")
        return Link()

    async def admit(self, config: GuestConfig, pids: Sequence[int]) -> None:
        return


class SystemLauncher(Launcher):
    """On an installed node."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._one_way = False
        """The kernel can't limit what guests send; found out at the first card with a rate."""

    def identity(self, vmid: int) -> Identity | None:
        uid = guest_uid(vmid)
        try:
            groups: tuple[int, ...] = (grp.getgrnam("kvm").gr_gid,)
        except KeyError:
            groups = ()
        return Identity(uid, uid, groups)

    def bridge_exists(self, bridge: str) -> bool:
        return network.bridge_exists(bridge)

    async def open_link(self, vmid: int, key: str, nic: Nic) -> Link:
        if nic.bridge is None:
            if "tag" in nic.options or "trunks" in nic.options:
                raise GuestError(f"{key}: 'tag' and 'trunks' need a bridge: name one, or remove them")
            return Link()
        taps = await network.open_tap(vmid, key, nic)
        vhosts = [network.open_vhost() for _ in taps.fds] if nic.model == "virtio" else []
        self._one_way |= taps.one_way
        return Link(taps.fds, tuple(fd for fd in vhosts if fd is not None), taps.mtu)

    async def admit(self, config: GuestConfig, pids: Sequence[int]) -> None:
        from dbus_fast import Variant  # here, since pveproxy knows of guests and starts none

        scope = f"{config.vmid}.scope"
        await self._systemd.reset_failed(scope)
        properties = {
            "Slice": Variant("s", "qemu.slice"),
            "CollectMode": Variant("s", "inactive-or-failed"),
            "Before": Variant("as", [HOST_UNIT]),
            **(_limits(config) if config.settings.keys() & set(LIMITS) else {}),
        }
        await self._systemd.start_scope(
            scope, pids, description=f"VM {config.vmid} ({config.name})", properties=properties
        )

    async def limit(self, config: GuestConfig) -> None:
        await self._systemd.set_properties(f"{config.vmid}.scope", _limits(config))

    def unlimited(self, config: GuestConfig) -> str:
        wanted = [key for key in LIMITS if key in config.settings]
        sentences = []
        if wanted and "cpu" not in _controllers():
            why = "the control groups of this host do not carry 'cpu'"
            sentences.append(f"{' and '.join(wanted)} can't be kept: {why}")
        if self._one_way and (cards := [key for key, nic in config.nics.items() if nic.rate_bytes_s]):
            why = "this node's kernel has no 'police' action"
            sentences.append(f"the rate of {' and '.join(cards)} limits what the guest receives alone: {why}")
        return "; ".join(sentences)


def _limits(config: GuestConfig) -> dict[str, Variant]:
    """The scope's share of the CPU (systemd.resource-control(5)): its most, and its weight among others."""
    from dbus_fast import Variant

    most = float(config.text("cpulimit", "0"))
    weight = min(config.number("cpuunits", DEFAULT_WEIGHT), 10_000)
    return {
        "CPUQuotaPerSecUSec": Variant("t", round(most * 1_000_000) if most else 2**64 - 1),
        "CPUWeight": Variant("t", weight),
    }


def _controllers(root: Path = Path("/sys/fs/cgroup")) -> frozenset[str]:
    """The controllers that this host's control groups carry, of version 2 or 1."""
    try:
        return frozenset((root / "cgroup.controllers").read_text().split())
    except OSError:
        return frozenset(path.name for path in root.iterdir()) if root.is_dir() else frozenset()


def close_links(links: dict[str, Link]) -> None:
    """Close our copies of the descriptors, once QEMU has its own or isn't coming."""
    for link in links.values():
        for descriptor in (*link.fds, *link.vhost_fds):
            os.close(descriptor)
