"""Whether a node may get another name now. Pure: all refusals at once, as sentences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kvorum.corosync import Configuration


@dataclass(frozen=True, slots=True)
class Facts:
    """The node that shall be renamed, and what it knows of the others."""

    node: str
    hostname: str
    """What its kernel says, up to the first dot."""
    folders: Collection[str]
    """The names below /etc/pve/nodes."""
    online: Collection[str]
    running: Sequence[str] = ()
    """Tasks that run on it, by their type and id."""
    migrating: Sequence[str] = ()
    """Guests of any node whose configuration says that they are being migrated."""


def rename_refusals(
    configuration: Configuration | None, facts: Facts, new: str, *, force: bool = False
) -> list[str]:
    """Why the node can't be called ``new``; ``force`` lets other nodes be off."""
    old, found = facts.node, []
    if new == old:
        return [f"node '{old}' has this name already"]
    names = [node.name for node in configuration.nodes] if configuration else [old]
    if new in names:
        found.append(f"the cluster has a node '{new}' already")
    elif new in facts.folders:
        found.append(
            f"'/etc/pve/nodes/{new}' is there, of a node that is gone: look at what it holds, then remove it"
        )
    if facts.hostname != old:
        found.append(
            f"this node's host name is '{facts.hostname}' and not '{old}': set it back first (hostnamectl "
            f"set-hostname {old}); the renaming sets it"
        )
    away = sorted(set(names) - set(facts.online))
    if away and not force:
        found.append(
            f"node {', '.join(away)} is off: start it first, or say --force, and it follows when it is back, "
            "as long as another node than this one tells it"
        )
    if facts.migrating:
        guests = ", ".join(f"VM {vmid}" for vmid in facts.migrating)
        found.append(f"{guests} is being migrated: wait until that has ended")
    if facts.running:
        found.append(
            f"tasks run on node '{old}', whose daemon starts anew under the new name: "
            f"{', '.join(facts.running)}; wait until they have ended, or stop them"
        )
    return found
