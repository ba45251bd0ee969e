"""The change of a link that was begun, as it stands in the store for whoever has to end it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kvorum.cluster.relink.change import Change
from kvorum.cluster.relink.readdress import Readdress
from kvorum.corosync import ConfiguredNode

FILE = "link-change.json"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A change that was begun, and by which node: that one ends it, also after its daemon died."""

    change: Change
    node: str

    def text(self) -> str:
        """As it stands in the store."""
        return json.dumps({"node": self.node, **self.change.fields()}, indent=1) + "\n"

    @classmethod
    def read(cls, text: str) -> UnderWay:
        """Parse it; raises ``ValueError`` when it is none."""
        try:
            raw = json.loads(text)
            parts = (
                int(raw["link"]),
                dict(raw["before"]),
                dict(raw["after"]),
                dict(raw["before_options"]),
                dict(raw["after_options"]),
            )
            listed = raw.get("listed")
            change = Readdress(*parts, _listed(listed)) if listed is not None else Change(*parts)
            return cls(change, str(raw["node"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"'{FILE}' can't be read ({error}): look at it, then remove it") from None


def _listed(raw: dict[str, object]) -> ConfiguredNode:
    addresses = raw["addresses"]
    if not isinstance(addresses, dict):
        raise ValueError("addresses are no mapping")
    return ConfiguredNode(
        str(raw["name"]),
        int(str(raw["nodeid"])),
        int(str(raw["votes"])),
        {int(link): str(address) for link, address in addresses.items()},
    )
