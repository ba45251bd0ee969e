"""Whether a node may go: as others remove it, and as it leaves by itself. Pure.

Each function returns all refusals at once, as sentences; an empty list lets the node go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvorum.corosync import Configuration


@dataclass(frozen=True, slots=True)
class Leaver:
    """The node that shall go, as the one who is asked sees it."""

    node: str
    online: bool
    guests: tuple[str, ...]
    """The vmids whose configurations lie in its folder."""
    joined: bool = True
    """It has its certificate, which is the last thing that a join makes."""


def removal_refusals(
    configuration: Configuration, leaver: Leaver, self_name: str, *, force: bool = False
) -> list[str]:
    """Why ``self_name`` can't remove a node; ``force`` lets a dead node's guests go with it."""
    node = leaver.node
    if node == self_name:
        return [f"Cannot delete myself from cluster! To have '{node}' leave it, run 'pvecm leave' there"]
    if configuration.node(node) is None:
        names = ", ".join(n.name for n in configuration.nodes)
        return [f"the cluster has no node '{node}': its nodes are {names}"]
    refusals = []
    if leaver.online:
        refusals.append(f"node '{node}' is running: run 'pvecm leave' on it, or shut it down first")
    if leaver.guests and leaver.joined and not force:
        refusals.append(
            f"node '{node}' has guests: {_listed(leaver.guests)}; move each to another node (mv "
            f"/etc/pve/nodes/{node}/qemu-server/{leaver.guests[0]}.conf /etc/pve/qemu-server/, if it runs "
            "nowhere and its disks can be reached), or give them up with 'pvecm delnode --force'"
        )
    return refusals


def leave_refusals(
    configuration: Configuration | None, leaver: Leaver, present: Sequence[str], *, removed: bool = False
) -> list[str]:
    """Why a node can't leave by itself. ``present`` are the nodes that are here, itself among them.

    A node that was ``removed`` already only cleans up: its copies of guests are of the past.
    """
    node = leaver.node
    if configuration is None or (configuration.node(node) is None and not removed):
        return ["this node is not in a cluster: there is nothing to leave"]
    if removed:
        return []
    refusals = []
    if leaver.guests:
        refusals.append(
            f"this node has guests: {_listed(leaver.guests)}; migrate or remove them first "
            "(qm migrate VMID NODE)"
        )
    left = [n for n in configuration.nodes if n.name != node]
    if left:
        after = configuration.without_node(node)
        votes = sum(n.votes for n in left if n.name in present)
        votes += after.device.votes if after.device else 0
        if votes < after.quorum:
            absent = ", ".join(n.name for n in left if n.name not in present)
            refusals.append(
                f"without this node {votes} of the {after.quorum} votes needed would be here, and the "
                f"cluster could change nothing any more: start {absent} first"
            )
    return refusals


def _listed(guests: Sequence[str]) -> str:
    return ", ".join(f"VM {vmid}" for vmid in guests)
