"""USB devices of the host: found in a sysfs of the test's own, opened, and named on QEMU's command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_lines import FACTS

from kvorum.core.errors import KvorumError
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.hardware import Usb
from kvorum.guests.machine import usb
from kvorum.guests.machine.commandline import Wiring, command_line, socket_names


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Two alike sticks, a key, and what is no device."""
    devices = tmp_path / "dev"
    for name, ids, bus, number in (
        ("1-2", "0951:1666", 1, 4),
        ("2-1.3", "0951:1666", 2, 7),
        ("1-4", "1050:0407", 1, 9),
        ("1-4:1.0", "", 0, 0),
    ):
        folder = tmp_path / "sys/bus/usb/devices" / name
        folder.mkdir(parents=True)
        if ids:
            vendor, product = ids.split(":")
            texts = {"idVendor": vendor, "idProduct": product, "busnum": bus, "devnum": number}
            for file, text in texts.items():
                (folder / file).write_text(f"{text}\n")
            (devices / f"{bus:03d}").mkdir(parents=True, exist_ok=True)
            (devices / f"{bus:03d}" / f"{number:03d}").touch()
    return tmp_path


def opened(world: Path, text: str) -> dict[str, int]:
    return usb.open_all(GuestConfig.parse(100, text), world / "sys", world / "dev")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("usb0: host=1050:0407", "dev/001/009"),
        ("usb0: 0x1050:0x0407,usb3=1", "dev/001/009"),
        ("usb0: host=2-1.3", "dev/002/007"),
    ],
)
def test_a_device_is_found_by_its_ids_or_its_port_and_opened_for_qemu(
    world: Path, text: str, file: str
) -> None:
    found = opened(world, text)
    assert Path(f"/proc/self/fd/{found['usb0']}").readlink() == world / file
    assert not os.get_inheritable(found["usb0"])
    usb.close_all(found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("usb3: host=dead:beef", "usb3: USB device dead:beef is not on this node; plug it in"),
        ("usb0: host=3-1", "usb0: USB device 3-1 is not on this node"),
        (
            "usb0: host=0951:1666",
            "several USB devices are 0951:1666: name one by its port: host=1-2, host=2-1.3",
        ),
        ("usb0: mapping=stick", "usb0: mapping=stick: there are no mappings"),
    ],
)
def test_what_can_not_be_handed_over_is_said(world: Path, text: str, sentence: str) -> None:
    with pytest.raises(KvorumError, match=sentence):
        opened(world, text)


def test_a_device_that_can_not_be_opened_closes_those_before_it(world: Path) -> None:
    (world / "dev/002/007").unlink()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(KvorumError, match=r"usb1: .*002/007' can't be opened: No such file"):
        opened(world, "usb0: host=1-4\nusb1: host=2-1.3")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_devices_hang_on_a_controller_of_their_own_each_on_its_port() -> None:
    config = GuestConfig.parse(100, "memory: 64\nvga: none\nusb2: host=1-4\nusb10: host=2-1.3\n")
    sockets = {name: 10 + index for index, name in enumerate(socket_names(config))}
    line = command_line(config, FACTS, Wiring(sockets, usb_fds={"usb2": 40, "usb10": 41}))
    at = line.index(usb.CONTROLLER)
    assert line[at - 1 :] == [
        "-device", usb.CONTROLLER,
        "-add-fd", "fd=40,set=902,opaque=usb2",
        "-device", "usb-host,id=usb2,bus=xhci.0,port=3,hostdevice=/dev/fdset/902",
        "-add-fd", "fd=41,set=910,opaque=usb10",
        "-device", "usb-host,id=usb10,bus=xhci.0,port=11,hostdevice=/dev/fdset/910",
    ]  # fmt: skip
    assert usb.CONTROLLER not in command_line(GuestConfig.parse(100, "memory: 64\n"), FACTS, Wiring(sockets))


@pytest.mark.parametrize(
    "text", ["host=1", "mapping=a,host=1-2", "host=1-2,usb3=maybe", "port=3", "1-2.", ""]
)
def test_a_wrong_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Usb.parse(text)
