"""The command line is pinned: a change of it changes guests' machines, and must be meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_lines import build

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError
from kvorum.guests.machine.iothreads import threads, without_meaning
from kvorum.guests.machine.memory import dimms

GOLDEN = Path(__file__).with_name("golden")

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
    "uefi": """machine: q35
bios: ovmf
efidisk0: local:100/vm-100-disk-1.raw,efitype=4m,pre-enrolled-keys=1,size=528K
tpmstate0: local:100/vm-100-disk-2.raw,version=v2.0,size=4M
rng0: source=/dev/urandom
watchdog: model=i6300esb,action=reset
audio0: device=ich9-intel-hda,driver=none
scsihw: virtio-scsi-pci
scsi0: local:100/vm-100-disk-0.qcow2,size=1G
agent: 1
vga: virtio,clipboard=vnc
keyboard: de
startdate: 2026-11-28T1:2:3
""",
    "plugged": """memory: 2048
hotplug: cpu,memory,disk
cores: 2
sockets: 2
vcpus: 3
numa: 1
affinity: 0-1
scsihw: virtio-scsi-pci
scsi0: local:100/vm-100-disk-0.raw
virtio0: local:100/vm-100-disk-1.raw
""",
    "board": """machine: q35,viommu=intel,aw-bits=48,enable-s3=0
bios: ovmf
smbios1: uuid=11111111-2222-3333-4444-555555555555,serial=YSxi,base64=1
numa: 1
cores: 2
memory: 1024
numa0: cpus=0,memory=512
numa1: cpus=1,memory=512,hostnodes=0,policy=bind
cpu: max,phys-bits=40,level=30
rng0: /dev/random,max_bytes=0
watchdog: ib700,action=pause
audio0: device=AC97,driver=none
args: -device 'pvpanic,id=a b'
tdf: 1
""",
    "iothreads": """scsihw: virtio-scsi-single
scsi0: local:100/vm-100-disk-0.raw,iothread=1
scsi2: local:100/vm-100-disk-1.raw
virtio0: local:100/vm-100-disk-2.qcow2,iothread=1
virtio7: local:100/vm-100-disk-3.qcow2,iothread=1
sata0: local:100/vm-100-disk-4.raw,iothread=0
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


@pytest.mark.parametrize("text", ["hostpci0: 01:00\n", "vga: virtio-gl\n", "template: 1\n"])
def test_what_can_not_be_made_is_refused(text: str) -> None:
    with pytest.raises(GuestConfigError, match=r"not supported|template"):
        build(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("bios: ovmf\nefidisk0: local:100/vm-100-disk-0.raw\n", "efitype=2m: Debian's OVMF has only"),
        (
            "bios: ovmf\nefidisk0: local:100/vm-100-disk-0.raw,efitype=4m,pre-enrolled-keys=1\n",
            "only q35 has",
        ),
        ("rng0: /dev/hwrng\n", "use /dev/urandom"),
        ("audio0: device=AC97\n", "write driver=none"),
        ("hotplug: memory\nmemory: 1300\n", "1536 MiB can"),
        ("hotplug: memory\nmemory: 1000000\n", "508928 MiB can"),
        ("numa: 1\nnuma0: cpus=0,memory=256\n", "256 MiB together, the guest 512 MiB"),
        ("numa: 1\nnuma0: cpus=0-1,memory=512\n", "CPUs 0 to 0 must be in one"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(text: str, why: str) -> None:
    with pytest.raises(GuestConfigError, match=why):
        build(text)


def test_a_guest_without_variables_has_uefi_all_the_same() -> None:
    line = build("bios: ovmf\n")
    assert line[line.index("-bios") + 1] == "/usr/share/ovmf/OVMF.fd"


def test_modules_of_memory_are_the_same_for_the_same_amount() -> None:
    """A migration's target builds them from the amount alone."""
    sizes = [(d.name, d.mib) for d in dimms(GuestConfig.parse(100, "hotplug: memory\nmemory: 18432\n"))]
    assert sizes[:2] == [("dimm0", 512), ("dimm1", 512)]
    assert sizes[-1] == ("dimm32", 1024)
    assert 1024 + sum(mib for _, mib in sizes) == 18432
    assert dimms(GuestConfig.parse(100, "hotplug: memory\nmemory: 512\n")) == ()
    assert dimms(GuestConfig.parse(100, "memory: 4096\n")) == ()


def test_an_iothread_without_meaning_is_said_by_its_disks() -> None:
    text = "scsihw: virtio-scsi-pci\nscsi1: local:100/a.raw,iothread=1\nvirtio0: local:100/b.raw,iothread=1\n"
    config = GuestConfig.parse(100, text)
    assert threads(config) == ["iothread-virtio0"]
    assert without_meaning(config).startswith("scsi1: iothread has a meaning")
    assert without_meaning(config.edit({"scsihw": "virtio-scsi-single"})) == ""
