"""Which changes a running QEMU takes."""

from __future__ import annotations

import pytest

from kvorum.guests.config import GuestConfig
from kvorum.guests.machine.hotplug import Way, way

CONFIG = (
    "scsihw: virtio-scsi-pci\nscsi0: local:100/vm-100-disk-0.qcow2,size=1G\nide2: none,media=cdrom\n"
    "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\ncores: 1\nballoon: 256\n"
)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "db", Way.FREE),
        ("cores", "1", Way.FREE),
        ("cores", "2", Way.LATER),
        ("scsi1", "local:100/vm-100-disk-1.qcow2,size=1G", Way.PLUG),
        ("virtio0", "local:100/vm-100-disk-1.qcow2,size=1G", Way.PLUG),
        ("virtio7", "local:100/vm-100-disk-1.qcow2,size=1G", Way.LATER),
        ("sata0", "local:100/vm-100-disk-1.qcow2,size=1G", Way.LATER),
        ("scsi0", None, Way.PLUG),
        ("scsi0", "local:100/vm-100-disk-0.qcow2,size=1G,backup=0", Way.FREE),
        ("scsi0", "local:100/vm-100-disk-0.qcow2,size=1G,cache=unsafe", Way.LATER),
        ("scsi0", "local:100/vm-100-disk-1.qcow2,size=1G", Way.PLUG),
        ("ide2", "local:iso/debian.iso,media=cdrom", Way.PLUG),
        ("ide2", None, Way.LATER),
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0,link_down=1", Way.PLUG),
        ("net0", "e1000=BC:24:11:00:00:01,bridge=vmbr0", Way.PLUG),
        ("net1", "virtio=BC:24:11:00:00:02,bridge=vmbr0", Way.PLUG),
        ("net7", "virtio=BC:24:11:00:00:02,bridge=vmbr0", Way.LATER),
        ("balloon", "128", Way.PLUG),
        ("balloon", "0", Way.LATER),
    ],
)  # fmt: skip
def test_a_change_takes_effect_when_qemu_can_take_it(key: str, value: str | None, expected: Way) -> None:
    assert way(GuestConfig.parse(100, CONFIG), key, value) is expected


@pytest.mark.parametrize(
    ("hotplug", "expected"), [("0", Way.LATER), ("disk", Way.LATER), ("network", Way.PLUG)]
)
def test_the_guest_says_what_may_be_plugged(hotplug: str, expected: Way) -> None:
    config = GuestConfig.parse(100, f"{CONFIG}hotplug: {hotplug}\n")
    assert way(config, "net1", "virtio=BC:24:11:00:00:02,bridge=vmbr0") is expected


def test_a_controller_that_guests_can_not_take_later_waits() -> None:
    single = GuestConfig.parse(100, "scsihw: virtio-scsi-single\n")
    assert way(single, "scsi0", "local:100/vm-100-disk-0.qcow2,size=1G") is Way.LATER, "its bridge is missing"
    old = GuestConfig.parse(100, "scsihw: lsi\n")
    assert way(old, "scsi0", "local:100/vm-100-disk-0.qcow2,size=1G") is Way.LATER
