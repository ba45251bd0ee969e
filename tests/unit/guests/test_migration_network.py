"""The network that a migration's memory and disks take: the target's one address in it."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import pytest
from guests_world import MemoryStore

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.guests.methods.transport import transport
from kvorum.guests.migration import network
from kvorum.guests.migration.request import Request, TargetFacts, problems

HERE = ("127.0.0.1", "::1", "198.51.100.7", "198.51.100.9", "192.0.2.7", "2001:db8::7")


@pytest.mark.parametrize(
    ("cidr", "address"),
    [("192.0.2.0/24", "192.0.2.7"), ("198.51.100.7/32", "198.51.100.7"), ("2001:db8::/64", "2001:db8::7")],
)
def test_the_one_address_in_the_network_is_taken(cidr: str, address: str) -> None:
    assert network.within(cidr, [*HERE, address]) == [address], "also when it stands on two interfaces"
    assert network.problem(cidr, HERE, "n2") == ""


def test_none_and_several_are_told_apart() -> None:
    facts = TargetFacts(
        node="n2", version="", accelerator="", reason="", machine_types=(), storages={}, free_bytes={},
        bridges=(), owner="n1", addresses=HERE,
    )  # fmt: skip

    def said(cidr: str) -> list[str]:
        return problems(Request(vmid=1, source="n1", token="", config="", online=False, network=cidr), facts)

    assert said("") == said("192.0.2.0/24") == []
    (none,) = said("203.0.113.0/24")
    assert none.startswith("node 'n2' has no address in the migration network 203.0.113.0/24; give it one")
    (two,) = said("198.51.100.0/24")
    assert "has 2 addresses in the migration network 198.51.100.0/24: 198.51.100.7, 198.51.100.9; " in two
    assert two.endswith("such as 198.51.100.7/32")


def test_this_node_s_addresses_are_the_kernel_s() -> None:
    found = network.own_addresses()
    assert "127.0.0.1" in found
    assert all(ipaddress.ip_address(each) for each in found)


async def context(option: str) -> Any:
    store = MemoryStore("n1")
    if option:
        await store.write("datacenter.cfg", f"migration: {option}\n")
    return SimpleNamespace(store=store)


@pytest.mark.parametrize(
    ("option", "asked", "expected"),
    [
        ("", {}, (True, "")),
        ("secure,network=192.0.2.0/24", {}, (True, "192.0.2.0/24")),
        ("insecure", {}, (False, "")),
        ("type=insecure,network=192.0.2.0/24", {"type": "secure"}, (True, "192.0.2.0/24")),
        ("insecure,network=192.0.2.0/24", {"network": "198.51.100.0/24"}, (False, "198.51.100.0/24")),
        ("", {"type": "insecure", "network": "192.0.2.0/24"}, (False, "192.0.2.0/24")),
    ],
)
async def test_the_caller_s_word_goes_before_the_cluster_s_option(
    option: str, asked: dict[str, str], expected: tuple[bool, str]
) -> None:
    found = transport(await context(option), **asked)
    assert (found["secure"], found["network"]) == expected


async def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ParameterError) as refused:
        transport(await context(""), network="eth1")
    assert refused.value.errors == {
        "migration_network": "'eth1' is no network; write such as 198.51.100.0/24"
    }


@pytest.mark.parametrize("option", ["fast", "secure,network=eth1", "secure,port=7", "secure,insecure"])
async def test_an_option_that_can_not_be_read_is_said_and_never_taken_as_less_safe(option: str) -> None:
    with pytest.raises(KvorumError, match=r"option 'migration' can't be read: .*; correct it in datacenter"):
        transport(await context(option))
