"""The command line is pinned: a change of it changes guests' machines, and must be meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError
from kvorum.guests.machine.commandline import Drive, Link, NodeFacts, Wiring, command_line, socket_names

GOLDEN = Path(__file__).with_name("golden")
FACTS = NodeFacts("qemu-system-x86_64", "10.0.2", "tcg", {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0"})

CONFIGS = {
    "small": """name: small
memory: 256
scsihw: virtio-scsi-pci
scsi0: local:100/vm-100-disk-0.qcow2,size=1G
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0
serial0: socket
agent: 1
vga: serial0
boot: order=scsi0
""",
    "every-bus": """ide0: local:100/vm-100-disk-0.raw
ide2: none,media=cdrom
sata1: local:100/vm-100-disk-1.raw
scsi0: local:100/vm-100-disk-2.raw,ssd=1
virtio0: local:100/vm-100-disk-3.raw,cache=writeback,discard=on
virtio7: local:100/vm-100-disk-4.raw,cache=unsafe
net0: e1000=BC:24:11:00:00:01
net7: virtio=BC:24:11:00:00:07
acpi: 0
""",
    "q35-kvm": """machine: q35
kvm: 1
cpu: host,flags=+aes
sockets: 2
cores: 4
vcpus: 4
scsihw: virtio-scsi-single
scsi0: local:100/vm-100-disk-0.raw
scsi3: local:100/vm-100-disk-1.raw
ostype: win11
smbios1: uuid=11111111-2222-3333-4444-555555555555
balloon: 0
""",
}


def build(text: str, **more: object) -> list[str]:
    config = GuestConfig.parse(100, text)
    sockets = {name: 10 + index for index, name in enumerate(socket_names(config))}
    drives = {
        key: Drive(f"/vz/{disk.volume.name}", disk.volume.name.rpartition(".")[2])
        for key, disk in config.disks.items()
        if disk.volume
    }
    links = {key: Link(30 + i) if nic.bridge else Link() for i, (key, nic) in enumerate(config.nics.items())}
    return command_line(config, FACTS, Wiring(sockets, drives, links), **more)


@pytest.mark.parametrize("name", CONFIGS)
def test_golden(name: str) -> None:
    """``KVORUM_GOLDEN=1 pytest`` writes the files anew."""
    text = "\n".join(build(CONFIGS[name])) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("KVORUM_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_an_incoming_guest_gets_the_very_machine_it_runs_on() -> None:
    line = build(CONFIGS["small"], machine="pc-i440fx-7.2", pinned="kvm", incoming=True)
    assert "type=pc-i440fx-7.2" in line
    assert line[line.index("-accel") + 1] == "kvm"
    assert line[-2:] == ["-incoming", "defer"]


def test_the_sandbox_is_always_on() -> None:
    line = build("")
    assert line[line.index("-sandbox") + 1].startswith("on,obsolete=deny,elevateprivileges=deny,spawn=deny")
    assert {"-no-user-config", "-nodefaults", "-S"} <= set(line)


@pytest.mark.parametrize("text", ["hostpci0: 01:00\n", "bios: ovmf\n", "args: -foo\n", "template: 1\n"])
def test_what_can_not_be_made_is_refused(text: str) -> None:
    with pytest.raises(GuestConfigError, match=r"not supported|template"):
        build(text)
