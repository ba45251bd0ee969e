"""Where a card's cable ends: its bridge, its VLANs, its rate; and what the kernel is asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_lines import FACTS
from pyroute2.netlink.exceptions import NetlinkError

from kvorum.guests.config import GuestConfig, Nic
from kvorum.guests.errors import GuestError
from kvorum.guests.machine import wiring
from kvorum.guests.machine.cable import Bridge, Cable, Carrier, cable
from kvorum.guests.machine.cards import Link, nic_device
from kvorum.guests.machine.commandline import Wiring, command_line, socket_names
from kvorum.guests.machine.hotplug import _properties
from kvorum.guests.machine.network import read_bridge

AWARE = Bridge("vmbr0", vlan_aware=True, ports=("eno1", "tap100i0"))
PLAIN = Bridge("vmbr0", ports=("eno1", "tap100i0", "bond0"))


def wired(options: str, bridge: Bridge) -> Cable:
    return cable("net0", Nic.parse(f"virtio,bridge=vmbr0{options}"), bridge)


@pytest.mark.parametrize(
    ("options", "untagged", "tagged"),
    [
        ("", 1, ((2, 4094),)),
        (",tag=5", 5, ()),
        (",tag=5,trunks=4-6;9", 5, ((4, 4), (6, 6), (9, 9))),
        (",trunks=10;20-30", 1, ((10, 10), (20, 30))),
        (",tag=5,trunks=5", 5, ()),
    ],
)
def test_on_a_vlan_aware_bridge_the_port_has_its_vlans(
    options: str, untagged: int, tagged: tuple[tuple[int, int], ...]
) -> None:
    made = wired(options, AWARE)
    assert (made.bridge, made.untagged, made.tagged, made.carriers) == ("vmbr0", untagged, tagged, ())


def test_on_another_bridge_a_tag_has_a_bridge_of_its_own_over_the_same_ports() -> None:
    assert wired("", PLAIN) == Cable("vmbr0", 1500)
    made = wired(",tag=5", PLAIN)
    assert (made.bridge, made.untagged) == ("vmbr0v5", None)
    assert made.carriers == (Carrier("eno1", 5), Carrier("bond0", 5)), "guests' taps carry nothing"


@pytest.mark.parametrize(
    ("mac", "address"),
    [("BC:24:11:0A:00:01", "fe:24:11:0a:00:01"), ("FE:24:11:0A:00:01", "fa:24:11:0a:00:01")],
)
def test_a_tap_never_has_its_bridges_lowest_address_nor_its_guests(mac: str, address: str) -> None:
    assert cable("net0", Nic.parse(f"virtio={mac},bridge=vmbr0"), PLAIN).address == address


@pytest.mark.parametrize(
    ("options", "bridge", "sentence"),
    [
        (",trunks=5", PLAIN, "net0: trunks=5 needs a bridge that is VLAN aware, and 'vmbr0' is not"),
        (",mtu=9000", PLAIN, r"net0: mtu=9000 is more than bridge 'vmbr0' carries \(1500\)"),
        (
            ",tag=4000",
            Bridge("vmbr0", ports=("enp129s0f0np0",)),
            "would need an interface 'enp129s0f0np0.4000'",
        ),
    ],
)
def test_what_can_not_be_wired_is_said(options: str, bridge: Bridge, sentence: str) -> None:
    with pytest.raises(GuestError, match=sentence):
        wired(options, bridge)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("trunks=0", "'0' is no VLAN"),
        ("trunks=9-3", "'9-3' is no VLAN"),
        ("trunks=2;4095", "'4095' is no VLAN"),
        ("trunks=a", "'a' is no VLAN"),
        ("rate=fast", "rate=fast is no rate in megabytes a second"),
        ("rate=-1", "rate=-1 is no rate"),
        ("tag=4095", "tag=4095 is no whole number from 1 to 4094"),
        ("queues=65", "queues=65 is no whole number from 0 to 64"),
        ("mtu=0", "mtu=0 is no whole number"),
        ("link_down=perhaps", "perhaps"),
    ],
)
def test_a_wrong_value_of_a_card_is_named(option: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Nic.parse(f"virtio,bridge=vmbr0,{option}")


def test_rate_and_queues_are_as_users_know_them() -> None:
    assert wired(",rate=12.5", PLAIN).rate_bytes_s == 12_500_000
    assert wired(",queues=4", PLAIN).queues == 4
    assert cable("net0", Nic.parse("e1000,bridge=vmbr0,queues=4"), PLAIN).queues == 1


def test_a_bridge_is_read_from_sysfs_also_from_a_kernel_without_vlans(tmp_path: Path) -> None:
    folder = tmp_path / "vmbr0"
    (folder / "bridge").mkdir(parents=True)
    (folder / "brif").mkdir()
    (folder / "brif" / "eno1").touch()
    (folder / "mtu").write_text("9000\n")
    assert read_bridge("vmbr0", tmp_path) == Bridge("vmbr0", False, 9000, ("eno1",))
    (folder / "bridge" / "vlan_filtering").write_text("1\n")
    assert read_bridge("vmbr0", tmp_path).vlan_aware
    with pytest.raises(GuestError, match="bridge 'vmbr7' does not exist on this node"):
        read_bridge("vmbr7", tmp_path)


def test_a_card_of_several_queues_has_as_many_descriptors_also_when_it_is_plugged() -> None:
    config = GuestConfig.parse(100, "net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,queues=2,mtu=1\n")
    sockets = {name: 10 + index for index, name in enumerate(socket_names(config))}
    link = Link((30, 31), (32, 33), mtu=9000)
    line = command_line(config, FACTS, Wiring(sockets, links={"net0": link}))
    assert "tap,id=net0,fds=30:31,vhost=on,vhostfds=32:33" in line
    (device,) = [word for word in line if word.startswith("virtio-net-pci")]
    assert "host_mtu=9000,mq=on,vectors=6" in device
    plugged = _properties(nic_device("net0", config.nics["net0"], link))
    assert (plugged["host_mtu"], plugged["mq"], plugged["vectors"]) == (9000, True, 6)
    alone = command_line(config, FACTS, Wiring(sockets, links={"net0": Link((30,))}))
    assert "tap,id=net0,fd=30" in alone and not [word for word in alone if "mq=on" in word]


class Kernel:
    """Remembers what it is asked; refuses ``refuses`` with ``code``."""

    def __init__(self, *links: str, refuses: str = "", code: int = 95) -> None:
        self.links = {name: index for index, name in enumerate(links, 1)}
        self.asked: list[tuple[object, ...]] = []
        self._refuses, self._code = refuses, code

    def _ask(self, *what: object) -> None:
        if self._refuses and self._refuses in what:
            raise NetlinkError(self._code, "no")
        self.asked.append(what)

    def link_lookup(self, **attributes: object) -> list[int]:
        name = str(attributes["ifname"])
        return [self.links[name]] if name in self.links else []

    def link(self, command: str, **attributes: object) -> object:
        self._ask(command, *attributes.values())
        if command == "add":
            self.links[str(attributes["ifname"])] = len(self.links) + 1
        return ()

    def vlan_filter(self, command: str, **attributes: object) -> object:
        self._ask("vlan", command, attributes["vlan_info"])
        return ()

    def tc(self, command: str, kind: str, index: int, handle: int = 0, **attributes: object) -> object:
        self._ask(command, kind, attributes.get("rate"))
        return ()


def test_a_port_loses_the_vlan_it_began_with_and_gets_its_own() -> None:
    kernel = Kernel("vmbr0", "tap1i0")
    wiring.set_vlans(kernel, "net0", 2, wired(",tag=5,trunks=9;20-30", AWARE))
    assert kernel.asked == [
        ("vlan", "del", {"vid": 1, "flags": 0}),
        ("vlan", "add", {"vid": 5, "flags": 6}),
        ("vlan", "add", {"vid": 9, "flags": 0}),
        ("vlan", "add", [{"vid": 20, "flags": 8}, {"vid": 30, "flags": 16}]),
    ]


def test_a_vlans_bridge_is_made_once() -> None:
    kernel = Kernel("vmbr0", "eno1")
    plan = cable("net0", Nic.parse("virtio,bridge=vmbr0,tag=5"), Bridge("vmbr0", ports=("eno1",)))
    wiring.make_vlan_bridge(kernel, "net0", plan)
    assert ("add", "eno1.5", "vlan", 2, 5) in kernel.asked and "vmbr0v5" in kernel.links
    kernel.asked.clear()
    wiring.make_vlan_bridge(kernel, "net0", plan)
    assert not [what for what in kernel.asked if what[0] == "add"]


@pytest.mark.parametrize("refuses", ["vlan", "bridge"])
def test_a_kernel_without_vlans_is_named_and_the_guest_does_not_start(refuses: str) -> None:
    with pytest.raises(GuestError, match=r"net0: .* this node's kernel has no VLANs"):
        if refuses == "vlan":
            wiring.set_vlans(Kernel(refuses=refuses), "net0", 1, wired(",tag=5", AWARE))
        else:
            kernel = Kernel("eno1", "bond0", refuses="vlan")
            with pytest.raises(GuestError):
                wiring.make_vlan_bridge(kernel, "net0", wired(",tag=5", PLAIN))
            assert kernel.asked == [], "nothing is left behind"
            wiring.make_vlan_bridge(Kernel("eno1", "bond0", refuses=refuses), "net0", wired(",tag=5", PLAIN))


def test_a_rate_holds_both_ways_or_says_that_it_does_not() -> None:
    plan = wired(",rate=10", PLAIN)
    kernel = Kernel()
    assert wiring.set_rate(kernel, 1, plan)
    assert [what[:2] for what in kernel.asked] == [
        ("add", "tbf"),
        ("add", "ingress"),
        ("add-filter", "matchall"),
    ]
    without = Kernel(refuses="matchall", code=2)
    assert not wiring.set_rate(without, 1, plan)
    assert ("add", "tbf", 10_000_000) in without.asked
    with pytest.raises(NetlinkError):
        wiring.set_rate(Kernel(refuses="matchall", code=1), 1, plan)
