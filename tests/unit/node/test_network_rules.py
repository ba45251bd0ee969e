"""What can't work in the network's configuration is refused with the parameter and the reason."""

from __future__ import annotations

import pytest

from kvorum.core.errors import ParameterError
from kvorum.node.interfaces import Interfaces
from kvorum.node.network_config import change
from kvorum.node.network_rules import Vlan, check, check_unused, vlan_of

TEXT = """\
auto lo
iface lo inet loopback

iface eno1 inet manual

auto vmbr0
iface vmbr0 inet static
\taddress 198.51.100.5/25
\tgateway 198.51.100.1
\tbridge_ports eno1
\tbridge-stp off

iface vmbr0.7 inet manual
iface guests inet manual
\tvlan-id 9
\tvlan-raw-device eno3

iface eno9 inet static
\taddress 192.0.2.77/24
"""
BALANCED = {"bond_mode": "802.3ad", "bond_xmit_hash_policy": "layer3+4"}
PRESENT = frozenset({"lo", "eno1", "eno2", "eno3", "eno4", "vmbr0"})


def made(name: str, **given: object) -> None:
    """Make or change an interface as the method does."""
    file = change(Interfaces.parse(TEXT), name, given)
    check(file, name, str(given["type"]), PRESENT)


@pytest.mark.parametrize(
    ("name", "given", "key", "sentence"),
    [
        ("vmbr123456789012", {"type": "bridge"}, "iface", "longer than 15 characters"),
        (
            "vmbr1",
            {"type": "bridge", "bridge_ports": ("eno1",)},
            "bridge_ports",
            "'eno1' is a part of 'vmbr0'",
        ),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("eno7",)}, "bridge_ports", "no interface 'eno7'"),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("vmbr1",)}, "bridge_ports", "part of itself"),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("eno2", "eno2")}, "bridge_ports", "named twice"),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("eno9",)}, "bridge_ports", "an address of its own"),
        ("vmbr1", {"type": "bridge", "bridge_vids": "2-9"}, "bridge_vids", "VLAN aware"),
        *(
            (
                "vmbr1",
                {"type": "bridge", "bridge_vlan_aware": True, "bridge_vids": vids},
                "bridge_vids",
                "is no",
            )
            for vids in ("0", "4095", "9-2", "a", "2-", "1-2-3")
        ),
        ("bond0", {"type": "bond"}, "slaves", "name the interfaces"),
        ("bond0", {"type": "bond", "slaves": ("eno1",)}, "slaves", "a part of 'vmbr0' already"),
        (
            "bond0",
            {
                "type": "bond",
                "slaves": ("eno2", "eno3"),
                "bond_mode": "active-backup",
                "bond-primary": "eno4",
            },
            "bond-primary",
            "none of the bond's",
        ),
        (
            "bond0",
            {"type": "bond", "slaves": ("eno2",), "bond_mode": "802.3ad", "bond-primary": "eno2"},
            "bond-primary",
            "no meaning in the mode '802.3ad'",
        ),
        (
            "bond0",
            {"type": "bond", "slaves": ("eno2",), "bond_xmit_hash_policy": "layer2"},
            "bond_xmit_hash_policy",
            "no meaning in the mode 'balance-rr'",
        ),
        ("storage", {"type": "vlan"}, "vlan-raw-device", "name it as its device and tag"),
        ("storage", {"type": "vlan", "vlan-raw-device": "eno2"}, "vlan-id", "name it as its device and tag"),
        ("eno7.5", {"type": "vlan"}, "vlan-raw-device", "no interface 'eno7'"),
        ("eno2.5", {"type": "vlan", "vlan-id": 6}, "vlan-id", "is 6, but the name 'eno2.5' says 5"),
        ("eno2.5000", {"type": "vlan"}, "vlan-id", "5000 is no VLAN's tag"),
        ("eno3.9", {"type": "vlan"}, "vlan-id", "'guests' is VLAN 9 of 'eno3' already"),
        ("eno7:1", {"type": "alias"}, "iface", "alias of an interface that this node does not have"),
        ("eno4", {"type": "eth", "cidr": "192.0.2.0/24"}, "cidr", "no host's address in its network"),
        ("eno4", {"type": "eth", "cidr": "192.0.2.255/24"}, "cidr", "no host's address in its network"),
        ("vmbr0", {"type": "bridge", "gateway": "198.51.100.5"}, "gateway", "own address"),
        (
            "vmbr0",
            {"type": "bridge", "gateway": "203.0.113.1"},
            "gateway",
            "not in the network 198.51.100.0/25",
        ),
        ("vmbr0", {"type": "bridge", "gateway": "gw"}, "gateway", "no IPv4 address"),
        (
            "vmbr0",
            {"type": "bridge", "cidr6": "2001:db8::5/64", "gateway6": "192.0.2.1"},
            "gateway6",
            "no IPv6",
        ),
    ],
)
def test_what_can_not_work_is_refused(name: str, given: dict[str, object], key: str, sentence: str) -> None:
    with pytest.raises(ParameterError) as refused:
        made(name, **given)
    assert list(refused.value.errors) == [key]
    assert sentence in refused.value.errors[key]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("vmbr1", {"type": "bridge", "bridge_vlan_aware": True, "bridge_vids": "2-4094"}),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("none",)}),
        ("vmbr1", {"type": "bridge", "bridge_ports": ("eno2.40",)}),
        ("vmbr0.5", {"type": "vlan", "cidr": "192.0.2.3/24"}),
        ("vlan6", {"type": "vlan", "vlan-raw-device": "eno2"}),
        ("storage", {"type": "vlan", "vlan-raw-device": "eno2", "vlan-id": 12}),
        ("bond0", {"type": "bond", "slaves": ("eno2", "eno3"), "bond_mode": "802.3ad"}),
        ("bond0", {"type": "bond", "slaves": ("eno2",), **BALANCED}),
        ("eno2", {"type": "eth", "cidr": "192.0.2.4/31"}),
        ("eno2", {"type": "eth", "cidr6": "2001:db8::7/128"}),
        ("vmbr0", {"type": "bridge", "cidr6": "2001:db8::5/64", "gateway6": "fe80::1"}),
    ],
)  # fmt: skip
def test_what_works_is_taken(name: str, given: dict[str, object]) -> None:
    made(name, **given)


def test_what_others_stand_on_is_not_removed() -> None:
    file = Interfaces.parse(TEXT)
    for name, user in (("vmbr0", "vmbr0.7"), ("eno1", "vmbr0")):
        with pytest.raises(ParameterError) as refused:
            check_unused(file, name)
        assert refused.value.errors["iface"].startswith(f"interface '{user}' needs '{name}'")
    check_unused(file, "guests")


def test_a_vlan_is_known_by_its_options_or_by_its_name() -> None:
    assert vlan_of("vmbr0.5", {}) == Vlan(5, "vmbr0")
    assert vlan_of("vlan5", {"vlan-raw-device": "eno1"}) == Vlan(5, "eno1")
    assert vlan_of("x", {"vlan-raw-device": "eno1", "vlan-id": "7"}) == Vlan(7, "eno1")
    assert vlan_of("eno1", {}) is None
