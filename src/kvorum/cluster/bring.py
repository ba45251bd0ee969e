"""What a node brings along into a cluster: its guests, and the storages that the cluster does not have. Pure.

It is taken in with the node, in the one transaction that lists it, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvorum.storage import StorageConfig, StorageEntry

_VOLUME = re.compile(
    r"^(?:ide|sata|scsi|virtio|efidisk|tpmstate|unused)\d+:\s*(?:file=)?([A-Za-z][\w.-]*):", re.MULTILINE
)
_VMID = re.compile(r"[1-9]\d{2,8}")
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Brought:
    """A node's guests (vmid to configuration) and its storage.cfg."""

    guests: Mapping[str, str] = field(default_factory=dict)
    storages: str = ""

    def text(self) -> str:
        """As it is sent to the peer."""
        return json.dumps({"guests": dict(self.guests), "storages": self.storages})


def read_brought(text: str | None) -> Brought:
    """Parse what a node sent; raises ``ValueError`` with a sentence."""
    if text is None:
        return Brought()
    try:
        raw = json.loads(text)
        guests, storages = dict(raw["guests"]), str(raw["storages"])
    except (ValueError, KeyError, TypeError):
        raise ValueError("is not what a node of this version sends of its guests") from None
    for vmid, configuration in guests.items():
        if not _VMID.fullmatch(vmid) or not isinstance(configuration, str):
            raise ValueError(f"'{vmid}' is no guest with a configuration")
    return Brought(guests, storages)


def clashes(brought: Brought, taken: Mapping[str, str], node: str) -> list[str]:
    """A sentence for the guests whose ids the cluster has; ``taken`` maps vmids to where they lie."""
    both = [v for v in brought.guests if v in taken and not taken[v].startswith(f"nodes/{node}/")]
    if not both:
        return []
    said = ", ".join(f"VM {vmid} ({_owner(taken[vmid])} has one)" for vmid in sorted(both, key=int))
    return [
        f"these ids exist in the cluster already: {said}; with --renumber the guests of node '{node}' get "
        "free ones"
    ]


def with_storages(cluster: str, brought: Brought, node: str) -> tuple[str, list[str]]:
    """The cluster's storage.cfg with the node's own storages, restricted to it; and why some can't be.

    A storage of the same name counts as the same if kind and place are.
    """
    ours, theirs = StorageConfig.parse(cluster), StorageConfig.parse(brought.storages)
    known = {entry.id: entry for entry in ours.entries}
    used = {name for text in brought.guests.values() for name in _VOLUME.findall(text)}
    refusals: list[str] = []
    entries = list(ours.entries)
    for entry in theirs.entries:
        here = known.get(entry.id)
        if here is None:
            entries.append(replace(entry, options={**entry.options, "nodes": node}, comments=()))
        elif entry.id in used and _place(here) != _place(entry):
            refusals.append(
                f"storage '{entry.id}' is {_place(entry)} on node '{node}' and {_place(here)} in the "
                "cluster, and guests have disks on it: rename it first"
            )
        elif entry.id in used and not here.available_on(node):
            refusals.append(
                f"storage '{entry.id}' is not for node '{node}' in the cluster, and guests have disks on it: "
                f"let it be (pvesm set {entry.id} --nodes …)"
            )
    lacking = sorted(used - {entry.id for entry in theirs.entries} - known.keys())
    refusals += [f"no storage '{name}' is known, and guests have disks on it" for name in lacking]
    return (
        replace(ours, entries=tuple(entries)).render() if len(entries) > len(known) else cluster
    ), refusals


def left_behind(cluster: str, own: str, node: str) -> list[str]:
    """For each storage that only the node had, a sentence with the command that adds it."""
    known = {entry.id for entry in StorageConfig.parse(cluster).entries}
    return [
        f"storage '{entry.id}' of this node is not in the cluster; to have it again: pvesm add {entry.type} "
        + " ".join([entry.id, *_options(entry), "--nodes", node])
        for entry in StorageConfig.parse(own).entries
        if entry.id not in known
    ]


def _options(entry: StorageEntry) -> list[str]:
    return [w for k, v in entry.options.items() if k != "nodes" for w in (f"--{k}", f"'{v or 1}'")]


def _place(entry: StorageEntry) -> str:
    place = entry.path or entry.options.get("pool") or entry.options.get("export") or ""
    return f"{entry.type} {place}".strip()


def _owner(path: str) -> str:
    return f"node {path.split('/')[1]}"
