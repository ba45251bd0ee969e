"""A guest's network cards as QEMU is told of them: back ends and devices. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvorum.guests.config import GuestConfig, Nic
from kvorum.guests.config.devices import NIC_MODELS


@dataclass(frozen=True, slots=True)
class Link:
    """What a network card hangs on: a tap's descriptors, or (without one) QEMU's own NAT."""

    fds: tuple[int, ...] = ()
    """One for each queue."""
    vhost_fds: tuple[int, ...] = ()
    mtu: int = 0
    """What the bridge carries, for a card that is to have the same."""


def arguments(config: GuestConfig, links: Mapping[str, Link]) -> list[str]:
    """The network cards of QEMU's command line, with what they hang on."""
    line: list[str] = []
    boot = {name: index for index, name in enumerate(config.boot_devices)}
    for key, nic in config.nics.items():
        link = links.get(key, Link())
        if not link.fds:
            line += ["-netdev", f"user,id={key}"]
        else:
            vhost = f",vhost=on,{_descriptors('vhostfd', link.vhost_fds)}" if link.vhost_fds else ""
            line += ["-netdev", f"tap,id={key},{_descriptors('fd', link.fds)}{vhost}"]
        index = f",bootindex={100 + boot[key]}" if key in boot else ""
        line += ["-device", nic_device(key, nic, link) + index]
    return line


def nic_device(key: str, nic: Nic, link: Link) -> str:
    """The device of a network card, over the net back end of the same name."""
    number = int(key[3:])
    where = f"bus=pci.0,addr={hex(0x12 + number)}" if number < 6 else f"bus=pci.1,addr={hex(number - 5)}"
    tail = ""
    if nic.model == "virtio":
        mtu = int(nic.options.get("mtu", "0"))
        if mtu := link.mtu if mtu == 1 else mtu:
            tail += f",host_mtu={mtu}"
        if len(link.fds) > 1:  # for each queue one vector each way, one for the configuration, one to control
            tail += f",mq=on,vectors={2 * len(link.fds) + 2}"
    return f"{NIC_MODELS[nic.model]},mac={nic.mac},netdev={key},{where},id={key}{tail}"


def _descriptors(name: str, numbers: Sequence[int]) -> str:
    """One descriptor, or one for each queue."""
    return f"{name}={numbers[0]}" if len(numbers) == 1 else f"{name}s={':'.join(map(str, numbers))}"
