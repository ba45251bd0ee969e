"""QEMU's command lines of configurations, as a node without anything real makes them."""

from __future__ import annotations

from kvorum.guests.config import GuestConfig
from kvorum.guests.machine.cards import Link
from kvorum.guests.machine.commandline import NodeFacts, Wiring, command_line, socket_names
from kvorum.guests.machine.disks import Drive

FACTS = NodeFacts("qemu-system-x86_64", "10.0.2", "tcg", {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0"})


def build(text: str, **more: object) -> list[str]:
    """The command line of a configuration's text."""
    config = GuestConfig.parse(100, text)
    sockets = {name: 10 + index for index, name in enumerate(socket_names(config))}
    drives = {
        key: Drive(f"/vz/{disk.volume.name}", disk.volume.name.rpartition(".")[2])
        for key, disk in config.disks.items()
        if disk.volume
    }
    links = {
        key: Link((30 + i,)) if nic.bridge else Link() for i, (key, nic) in enumerate(config.nics.items())
    }
    return command_line(config, FACTS, Wiring(sockets, drives, links, tpm_fd=50), **more)
