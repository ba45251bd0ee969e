"""Guests that come into a cluster under other ids, because theirs exist there: ``pvecm add --renumber``.

It is the first step of such a join and is undone with it. A guest is its configuration (snapshots among it)
and its volumes, those that no configuration names too: left behind under the old id they would be another
guest's. What is to be done is noted with the join, names and all, so both ways can be gone again and again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kvorum.core.errors import Conflict
from kvorum.core.ids import VolumeId
from kvorum.storage import StorageError, Storages
from kvorum.store import Delete, Expect, Operation, Store, Write

FIRST = 100
LAST = 999_999_999
_VOLUME = re.compile(
    r"(?P<before>(?:^|[\s,=])(?P<id>[A-Za-z][\w.-]*:\d+/[A-Za-z0-9_.-]+))(?=[,\s]|$)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Renumbering:
    """Which guest gets which id, and which volume which name."""

    vmids: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As it is noted."""
        return json.dumps({"vmids": dict(self.vmids), "volumes": dict(self.volumes)})

    @classmethod
    def read(cls, text: str) -> Renumbering:
        """What was noted."""
        raw = json.loads(text)
        return cls(dict(raw["vmids"]), dict(raw["volumes"]))

    @property
    def back(self) -> Renumbering:
        """The way back."""
        return Renumbering(
            {new: old for old, new in self.vmids.items()}, {new: old for old, new in self.volumes.items()}
        )

    def applied(self, configuration: str) -> str:
        """A guest's configuration with the volumes' new names, in all sections; the rest stays as it is."""

        def one(match: re.Match[str]) -> str:
            id = match["id"]
            return match["before"].removesuffix(id) + self.volumes.get(id, id)

        return "".join(
            line if line.startswith("#") else _VOLUME.sub(one, line)
            for line in configuration.splitlines(keepends=True)
        )


def free_ids(clashing: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """The lowest free id for each, in their order; raises ``Conflict`` when there is none left."""
    used, found, candidate = {int(vmid) for vmid in taken}, {}, FIRST
    for vmid in sorted(clashing, key=int):
        while candidate in used:
            candidate += 1
        if candidate > LAST:
            raise Conflict(f"no id is free for VM {vmid}")
        found[vmid] = str(candidate)
        used.add(candidate)
    return found


async def draft(storages: Storages, own: Mapping[str, str], taken: Collection[str]) -> Renumbering:
    """What to do so that none of the node's guests has an id that the cluster has ``taken``; ``own`` maps the
    guests' ids to their configurations.

    Raises ``Conflict`` with all that stands in the way: a storage with disks of theirs that does not answer
    or can't rename, a template. An id whose volumes lie somewhere already is not free.
    """
    clashing = [vmid for vmid in own if vmid in taken]
    if not clashing:
        return Renumbering()
    needed = {m["id"].partition(":")[0] for vmid in clashing for m in _VOLUME.finditer(own[vmid])}
    kinds, found, refusals = {}, {}, []
    for entry in storages.config().entries:
        if "images" not in entry.content:
            continue
        try:
            kinds[entry.id] = storages.get(entry.id)
            found[entry.id] = await storages.content(entry.id, content=("images",))
        except StorageError as error:
            if entry.id in needed:
                refusals.append(str(error))
    volumes = [volume for listed in found.values() for volume in listed]
    used = {str(volume.vmid) for volume in volumes if volume.vmid is not None}
    vmids = free_ids(clashing, {*own, *taken, *used})
    names = {}
    for volume in volumes:
        if str(volume.vmid) not in vmids:
            continue
        id = VolumeId.parse(volume.volid)
        try:
            names[volume.volid] = str(kinds[id.storage].handed_to(id, int(vmids[str(volume.vmid)])))
        except StorageError as error:
            refusals.append(str(error))
    if refusals:
        raise Conflict("\n".join(refusals))
    return Renumbering(vmids, names)


async def carry_out(what: Renumbering, store: Store, storages: Storages, who: str = "pvecm add") -> None:
    """Rename the volumes, then move the configurations in one transaction; done already, nothing happens.

    Raises ``KvorumError``; what was done stays, for ``Renumbering.back``.
    """
    for old, new in what.volumes.items():
        id, owner = VolumeId.parse(old), int(VolumeId.parse(new).name.partition("/")[0])
        await storages.of(id).hand_over(id, owner)
    operations: list[Operation] = []
    expect: list[Expect] = []
    folder = f"nodes/{store.node}/qemu-server"
    for name in store.names(folder):
        file = store.read(f"{folder}/{name}")
        vmid = name.removesuffix(".conf")
        if file is None or not name.endswith(".conf"):
            continue
        text, other = what.applied(file.text), what.vmids.get(vmid)
        if other is not None:
            operations += [Delete(file.path), Write(f"{folder}/{other}.conf", text.encode())]
        elif text != file.text:
            operations.append(Write(file.path, text.encode()))
        else:
            continue
        expect.append(Expect.of(file))
    if operations:
        await store.transact(operations, expect, who=who)
