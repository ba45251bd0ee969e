"""USB and PCI devices of a sysfs of the test's own."""

from __future__ import annotations

from pathlib import Path

from kvorum.node.hardware import pci_devices, usb_devices


def device(root: Path, bus: str, name: str, **files: str) -> Path:
    folder = root / "bus" / bus / "devices" / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    return folder


STICK = {
    "busnum": "2",
    "devnum": "7",
    "bDeviceClass": "00",
    "idVendor": "0951",
    "idProduct": "1666",
    "speed": "5000",
}


def test_usb_devices_are_listed_with_the_path_that_a_guest_names(tmp_path: Path) -> None:
    device(tmp_path, "usb", "usb2", **(STICK | {"devnum": "1", "bDeviceClass": "09", "idVendor": "1d6b"}))
    device(tmp_path, "usb", "2-1.3", product="DataTraveler", serial="E0D5", **STICK)
    device(tmp_path, "usb", "2-1.3:1.0", bInterfaceClass="08")
    device(tmp_path, "usb", "2-4")  # it goes away while it is read
    hub, stick = usb_devices(tmp_path)
    assert (hub["class"], hub["level"], "usbpath" in hub) == (9, 0, False)
    assert stick == {
        "busnum": 2, "devnum": 7, "level": 2, "port": 2, "class": 0, "vendid": "0951", "prodid": "1666",
        "speed": "5000", "usbpath": "1.3", "product": "DataTraveler", "serial": "E0D5",
    }  # fmt: skip


CARD = {"class": "0x020000", "vendor": "0x8086", "device": "0x1533", "subsystem_vendor": "0x15d9"}


def test_pci_devices_have_their_group_and_names_and_no_bridges(tmp_path: Path) -> None:
    names = tmp_path / "pci.ids"
    names.write_text(
        "# x\n15d9  Super Micro\n8086  Intel\n\t1533  I210\n\t\t15d9 0000  x\nC 02  Network\n\t00  y\n"
    )
    card = device(tmp_path, "pci", "0000:03:00.0", **CARD)
    (card / "iommu_group").symlink_to("../../../kernel/iommu_groups/17")
    device(tmp_path, "pci", "0000:00:00.0", **(CARD | {"class": "0x060000"}))
    assert pci_devices(["05", "06", "0b"], sysfs=tmp_path, names=[names]) == [
        {
            "id": "0000:03:00.0", "class": "0x020000", "vendor": "0x8086", "device": "0x1533",
            "iommugroup": 17, "subsystem_vendor": "0x15d9", "subsystem_vendor_name": "Super Micro",
            "vendor_name": "Intel", "device_name": "I210",
        }
    ]  # fmt: skip
    assert [row["id"] for row in pci_devices([], verbose=False, sysfs=tmp_path)] == [
        "0000:00:00.0",
        "0000:03:00.0",
    ]
    (nameless, _) = pci_devices([], sysfs=tmp_path, names=[])
    assert "vendor_name" not in nameless and nameless["iommugroup"] == -1


def test_a_node_without_these_buses_has_none(tmp_path: Path) -> None:
    assert usb_devices(tmp_path) == [] and pci_devices([], sysfs=tmp_path) == []
