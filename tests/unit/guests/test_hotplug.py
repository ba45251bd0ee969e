"""Which changes a running QEMU takes."""

from __future__ import annotations

import pytest

from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.machine.hotplug import Way, way
from kvorum.guests.machine.throttle import limited, limits

CONFIG = (
    "scsihw: virtio-scsi-pci\nscsi0: local:100/vm-100-disk-0.qcow2,size=1G\nide2: none,media=cdrom\n"
    "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\ncores: 1\nballoon: 256\nusb0: host=1-2\n"
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
        ("scsi0", "local:100/vm-100-disk-0.qcow2,size=1G,mbps=10,backup=0", Way.PLUG),
        ("scsi0", "local:100/vm-100-disk-1.qcow2,size=1G", Way.PLUG),
        ("ide2", "local:iso/debian.iso,media=cdrom", Way.PLUG),
        ("ide2", None, Way.LATER),
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0,link_down=1", Way.PLUG),
        ("net0", "e1000=BC:24:11:00:00:01,bridge=vmbr0", Way.PLUG),
        ("net1", "virtio=BC:24:11:00:00:02,bridge=vmbr0", Way.PLUG),
        ("net7", "virtio=BC:24:11:00:00:02,bridge=vmbr0", Way.LATER),
        ("balloon", "128", Way.PLUG),
        ("usb0", None, Way.PLUG),
        ("usb0", "host=1-2,usb3=1", Way.FREE),
        ("usb0", "host=1-3", Way.PLUG),
        ("usb1", "host=1050:0407", Way.PLUG),
        ("usb1", "spice", Way.LATER),
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


def test_usb_waits_where_the_guest_says_so() -> None:
    config = GuestConfig.parse(100, f"{CONFIG}hotplug: disk,network\n")
    assert way(config, "usb0", None) is way(config, "usb1", "host=1-3") is Way.LATER


def test_a_controller_that_guests_can_not_take_later_waits() -> None:
    single = GuestConfig.parse(100, "scsihw: virtio-scsi-single\n")
    assert way(single, "scsi0", "local:100/vm-100-disk-0.qcow2,size=1G") is Way.LATER, "its bridge is missing"
    old = GuestConfig.parse(100, "scsihw: lsi\n")
    assert way(old, "scsi0", "local:100/vm-100-disk-0.qcow2,size=1G") is Way.LATER


def test_limits_are_told_in_bytes_and_operations() -> None:
    disk = Disk.parse("local:a,mbps=1.5,mbps_max=2,iops_rd=100,iops_rd_max=200,iops_rd_max_length=5,bps_wr=0")
    assert limits(disk) == {
        "bps": 1572864, "bps_max": 2097152, "bps_rd": 0, "bps_wr": 0,
        "iops": 0, "iops_rd": 100, "iops_rd_max": 200, "iops_rd_max_length": 5, "iops_wr": 0,
    }  # fmt: skip
    assert limited(disk)
    assert not limited(Disk.parse("local:a,mbps=0"))


@pytest.mark.parametrize("option", ["mbps=fast", "iops=1.5", "bps_rd=-1"])
def test_a_limit_that_is_no_number_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        Disk.parse(f"local:a,{option}")


def test_room_for_cpus_and_memory_comes_with_the_next_start() -> None:
    """A migration's target would have it at once, and refuse the memory of a guest without."""
    config = GuestConfig.parse(100, "hotplug: disk\n")
    assert way(config, "hotplug", "disk,usb") is Way.FREE
    assert way(config, "hotplug", "disk,memory") is Way.LATER
    assert way(config, "hotplug", "disk,cpu") is Way.LATER
    assert way(GuestConfig.parse(100, "hotplug: memory\n"), "hotplug", None) is Way.LATER
