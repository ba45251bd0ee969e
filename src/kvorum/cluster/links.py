"""Links as users give them: ``--link0 ADDR[,priority=N]``. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from kvorum.core import property_string
from kvorum.corosync import MAX_LINKS

PRIORITY_MAX = 255


@dataclass(frozen=True, slots=True)
class Link:
    """One link's address on a node, and its priority where given."""

    address: str
    priority: int | None = None

    @classmethod
    def parse(cls, text: str) -> Link:
        """Parse ``ADDR[,priority=N]``; raises ``ValueError`` with a sentence."""
        values = property_string.parse(text, "address")
        if unknown := set(values) - {"address", "priority"}:
            raise ValueError(f"'{text}': '{min(unknown)}' is unknown, use ADDRESS[,priority=N]")
        if "address" not in values:
            raise ValueError(f"'{text}' names no address: use ADDRESS[,priority=N]")
        priority = values.get("priority")
        if priority is not None and not (priority.isdigit() and int(priority) <= PRIORITY_MAX):
            raise ValueError(f"'{text}': the priority must be a whole number from 0 to {PRIORITY_MAX}")
        return cls(_address(values["address"]), int(priority) if priority is not None else None)

    def __str__(self) -> str:
        return self.address if self.priority is None else f"{self.address},priority={self.priority}"


def addresses(links: Mapping[int, Link]) -> dict[int, str]:
    """The addresses by link number."""
    return {number: link.address for number, link in sorted(links.items())}


def priorities(links: Mapping[int, Link]) -> dict[int, int]:
    """The priorities that were given, by link number."""
    return {number: link.priority for number, link in links.items() if link.priority is not None}


LINK_NUMBERS = range(MAX_LINKS)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address") from None
