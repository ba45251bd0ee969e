"""A QDevice that is a guest of the cluster is found by what the guests' configurations and the kernel say."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kvorum.cluster.qdevice.guests import Guest, Known, guest_at, guest_with, look, node_of_guest_at
from kvorum.store.memory import MemoryStore

MAC = "bc:24:11:00:00:07"
ARP = f"""IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         {MAC}     *        vmbr0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        vmbr0
"""
VOTER = f"name: voter\nnet0: virtio={MAC.upper()},bridge=vmbr0\n"
OTHER = (
    "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\nipconfig0: ip=10.0.0.9/24,gw=10.0.0.1\n"
    f"\n[before]\nnet0: virtio={MAC},bridge=vmbr0\nipconfig0: ip=10.0.0.7/24\n"
)
GUESTS = [(Guest("100", "n1"), OTHER), (Guest("101", "n2"), VOTER)]


@pytest.mark.parametrize(
    ("known", "guest"),
    [
        (Known(frozenset({"10.0.0.7"}), frozenset({MAC})), Guest("101", "n2")),
        (Known(frozenset({"10.0.0.9"})), Guest("100", "n1")),
        (Known(frozenset({"10.0.0.7"})), None),
        (Known(frozenset({"10.0.0.5"}), frozenset({"bc:24:11:00:00:05"})), None),
        (Known(frozenset()), None),
    ],
)
def test_a_guest_is_known_by_its_hardware_address_or_its_configured_one(
    known: Known, guest: Guest | None
) -> None:
    assert guest_with(known, GUESTS) == guest


def test_the_kernel_says_which_hardware_an_address_has(tmp_path: Path) -> None:
    arp = tmp_path / "arp"
    assert look("10.0.0.7", arp) == Known(frozenset({"10.0.0.7"})), "no table, no hardware"
    arp.write_text(ARP)
    assert look("10.0.0.7", arp) == Known(frozenset({"10.0.0.7"}), frozenset({MAC}))
    assert look("10.0.0.8", arp).hardware == frozenset(), "nobody answers there"
    for nobody in ("no such name.invalid", ""):
        assert look(nobody, arp) == Known(frozenset())


async def test_the_store_and_etc_pve_say_the_same(tmp_path: Path) -> None:
    store = MemoryStore("n1")
    for guest, text in GUESTS:
        path = f"nodes/{guest.node}/qemu-server/{guest.vmid}.conf"
        await store.write(path, text)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert await guest_at(store, "10.0.0.9") == Guest("100", "n1")
    assert node_of_guest_at("10.0.0.9", tmp_path, 5) == "n1"
    assert await guest_at(store, "10.0.0.5") is None
    assert node_of_guest_at("10.0.0.5", tmp_path, 5) == ""


def test_what_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    monkeypatch.setattr("kvorum.cluster.qdevice.guests.look", lambda address: hang.wait(20))
    assert node_of_guest_at("10.0.0.9", tmp_path, 0.05) == ""
    hang.set()
