"""What a user asks of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    vmid: int
    target: str
    online: bool
    with_local_disks: bool = False
    storages: Mapping[str, str] | None = None
    """Storage here to storage there; the key ``*`` is for all others."""
    rate_kib_s: int = 0
    secure: bool = True
    """Whether the memory goes under TLS."""
    network: str = ""
    """The target is reached in this network (CIDR); empty: at its address in the cluster."""
    who: str = ""

    def storage(self, here: str) -> str:
        """The storage there for one here."""
        wanted = self.storages or {}
        return wanted.get(here, wanted.get("*", here))
