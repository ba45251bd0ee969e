"""The rows of bridges and interfaces."""

from __future__ import annotations

from ipaddress import ip_interface

from kvorum.node.network import Address, Link, read, rows, wanted

LINKS = [
    Link(1, "lo", loopback=True, addresses=(Address(ip_interface("127.0.0.1/8")),)),
    Link(2, "eth0", master=4),
    Link(3, "eth1", addresses=(Address(ip_interface("192.0.2.9/24"), lasting=False),)),
    Link(
        4,
        "vmbr0",
        kind="bridge",
        vlan_aware=True,
        addresses=(
            Address(ip_interface("fe80::1/64")),
            Address(ip_interface("198.51.100.5/25")),
            Address(ip_interface("2001:db8::5/64")),
        ),
        gateways=("198.51.100.1", "2001:db8::1"),
    ),
    Link(5, "tap100i0", kind="tun", master=4),
    Link(6, "vmbr0.7", kind="vlan", parent=4, vlan=7, up=False),
    Link(7, "bond0", kind="bond", bond_mode=4),
    Link(8, "eth2", master=7),
]


def test_a_bridge_has_its_ports_without_the_guests_and_its_addresses() -> None:
    (bridge,) = [row for row in rows(LINKS) if row["iface"] == "vmbr0"]
    assert (bridge["type"], bridge["bridge_ports"], bridge["bridge_vlan_aware"]) == ("bridge", "eth0", True)
    assert (bridge["method"], bridge["cidr"], bridge["netmask"]) == ("static", "198.51.100.5/25", "25")
    assert (bridge["address6"], bridge["netmask6"]) == ("2001:db8::5", 64)
    assert (bridge["gateway"], bridge["gateway6"]) == ("198.51.100.1", "2001:db8::1")
    assert bridge["families"] == ["inet", "inet6"]


def test_the_nodes_own_interfaces_are_listed_by_name() -> None:
    found = {row["iface"]: row for row in rows(LINKS)}
    assert list(found) == ["bond0", "eth0", "eth1", "eth2", "vmbr0", "vmbr0.7"]
    assert (found["eth1"]["method"], found["eth0"]["method"]) == ("dhcp", "manual")
    assert (found["bond0"]["slaves"], found["bond0"]["bond_mode"]) == ("eth2", "802.3ad")
    vlan = found["vmbr0.7"]
    assert (vlan["vlan-id"], vlan["vlan-raw-device"], vlan["active"]) == (7, "vmbr0", False)


def test_any_bridge_is_every_kind_of_bridge() -> None:
    table = rows(LINKS)
    assert [row["iface"] for row in table if wanted(row, "any_bridge")] == ["vmbr0"]
    assert [row["iface"] for row in table if wanted(row, "eth")] == ["eth0", "eth1", "eth2"]
    assert all(wanted(row, "include_sdn") and wanted(row, None) for row in table)


def test_the_kernels_own_list_is_read() -> None:
    loopback = next(link for link in read() if link.loopback)
    assert loopback.name == "lo"
    assert rows(read()) == [row for row in rows(read()) if row["iface"] != "lo"]
