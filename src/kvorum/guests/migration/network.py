"""Which of the target's addresses a migration's memory and disks go to. Pure, but for ``own_addresses``."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import psutil


def own_addresses() -> list[str]:
    """This node's addresses as the kernel has them, without those that need a scope (fe80::1%eth0)."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = (each for addresses in psutil.net_if_addrs().values() for each in addresses)
    return [each.address for each in found if each.family in families and "%" not in each.address]


def within(network: str, addresses: Iterable[str]) -> list[str]:
    """Those of the addresses that lie in a network (CIDR), each once."""
    wanted = ipaddress.ip_network(network, strict=False)
    return [str(each) for each in sorted({*map(ipaddress.ip_address, addresses)}, key=str) if each in wanted]


def problem(network: str, addresses: Iterable[str], node: str) -> str:
    """What stands against a node's being reached in a network; empty: it has one address there."""
    found = within(network, addresses)
    if not found:
        return (
            f"node '{node}' has no address in the migration network {network}; give it one, "
            "or name another network with --migration_network"
        )
    if len(found) > 1:
        narrow = f"{found[0]}/{ipaddress.ip_address(found[0]).max_prefixlen}"
        return (
            f"node '{node}' has {len(found)} addresses in the migration network {network}: "
            f"{', '.join(found)}; name a narrower network with --migration_network, such as {narrow}"
        )
    return ""
