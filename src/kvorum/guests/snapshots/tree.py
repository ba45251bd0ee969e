"""A guest's snapshots as its configuration has them: a section each, and what every step does to it. Pure.

A section holds the settings of its time, ``parent`` (the snapshot before it), ``snaptime``, with memory also
``vmstate``, ``runningmachine`` and ``runningcpu``, and its notes as comments. ``snapstate`` is the note of a
step that is under way, written before anything is done: ``prepare`` is undone by whoever finds it left,
``delete`` and ``rollback`` are done to their end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from kvorum.core.ids import VolumeId
from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.config.drives import free_key, is_disk_key, owned
from kvorum.guests.config.pending import SECTION, Pending
from kvorum.guests.errors import GuestError
from kvorum.storage import snapshot_name

Row = dict[str, object]
CURRENT = "current"
_OWN = frozenset({
    "description", "parent", "runningcpu", "runningmachine", "running-nets-host-mtu", "snapstate", "snaptime",
    "vmstate",
})  # fmt: skip
"""What a section says of the snapshot, not of the guest."""
_LEFT_OUT = _OWN | {"lock", "template"}


class Step(Enum):
    """What is under way with a snapshot, by its ``snapstate`` and the guest's lock."""

    TAKE = ("prepare", "snapshot")
    ROLL_BACK = ("rollback", "rollback")
    DELETE = ("delete", "snapshot-delete")

    @property
    def state(self) -> str:
        """The word in the section."""
        return self.value[0]

    @property
    def lock(self) -> str:
        """The guest's lock meanwhile."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot."""

    name: str
    settings: Mapping[str, str]
    description: str

    @property
    def parent(self) -> str:
        """The snapshot before it; empty: the first."""
        return self.settings.get("parent", "")

    @property
    def taken_at(self) -> int:
        """When it was taken, Unix seconds; 0 when it does not say."""
        text = self.settings.get("snaptime", "")
        return int(text) if text.isdigit() else 0

    @property
    def step(self) -> Step | None:
        """What is under way with it, or was when somebody died."""
        state = self.settings.get("snapstate")
        return next((step for step in Step if step.state == state), None)

    @property
    def memory(self) -> VolumeId | None:
        """The volume that holds the guest's memory."""
        return VolumeId.parse(self.settings["vmstate"]) if "vmstate" in self.settings else None

    @property
    def disks(self) -> dict[str, Disk]:
        """The drives of its time that are part of it, by key: what can be written to."""
        return _disks(self.settings)


def disks(config: GuestConfig) -> dict[str, Disk]:
    """The drives of a guest that a snapshot of it consists of."""
    return _disks(config.settings)


def snapshots(config: GuestConfig) -> dict[str, Snapshot]:
    """A guest's snapshots by name."""
    found = {}
    for name in config.document.sections:
        if name != SECTION and ":" not in name:
            settings = {key: each.value for key, each in config.document.settings(name).items()}
            found[name] = Snapshot(name, settings, config.document.section_description(name))
    return found


def snapshot(config: GuestConfig, name: str) -> Snapshot:
    """One snapshot; raises ``GuestError`` when there is none of the name."""
    found = snapshots(config)
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise GuestError(f"snapshot '{name}' does not exist; VM {config.vmid} has: {there}")
    return found[name]


def check_name(config: GuestConfig, name: str) -> None:
    """Raise ``GuestError`` for a name that a new snapshot can't have."""
    try:
        snapshot_name(name)
    except ValueError as error:
        raise GuestError(str(error)) from None
    if name.lower() in (CURRENT, SECTION.lower()):
        raise GuestError(f"a snapshot can't be called '{name}': the word has another meaning here")
    if name in snapshots(config):
        raise GuestError(f"snapshot name '{name}' already used")


def rows(config: GuestConfig, digest: str, running: bool) -> list[Row]:
    """The snapshots as the API lists them, the oldest first, and the guest's present as the last."""
    found: list[Row] = []
    for each in sorted(
        snapshots(config).values(), key=lambda s: (int(s.settings.get("snaptime", 0)), s.name)
    ):
        row: Row = {"name": each.name, "description": each.description, "vmstate": each.memory is not None}
        if "snaptime" in each.settings:
            row["snaptime"] = each.taken_at
        for key in ("parent", "snapstate"):
            if key in each.settings:
                row[key] = each.settings[key]
        found.append(row)
    here: Row = {"name": CURRENT, "description": "You are here!", "digest": digest, "running": int(running)}
    if parent := config.text("parent"):
        here["parent"] = parent
    return [*found, here]


# What each step writes


def begun(config: GuestConfig, name: str, taken_at: int, description: str) -> GuestConfig:
    """Noted that a snapshot is being taken: its section is there, and ``prepare``."""
    settings = {
        key: value
        for key, value in config.settings.items()
        if key not in _LEFT_OUT and not re.fullmatch(r"unused\d+", key)
    }
    if parent := config.text("parent"):
        settings["parent"] = parent
    settings |= {"snapstate": Step.TAKE.state, "snaptime": str(taken_at)}
    return _with(config, name, settings, description).edit({"lock": Step.TAKE.lock})


def taken(config: GuestConfig, name: str, memory: Mapping[str, str]) -> GuestConfig:
    """A snapshot that is whole; ``memory`` are its settings about the guest's memory, empty without."""
    kept = {key: value for key, value in snapshot(config, name).settings.items() if key != "snapstate"}
    whole = _with(config, name, {**kept, **memory}, snapshot(config, name).description)
    return whole.edit({"parent": name}, _locked(whole))


def given_up(config: GuestConfig, name: str) -> GuestConfig:
    """As before a snapshot was begun."""
    return _with(config, name, {}, "").edit({}, _locked(config))


def marked(config: GuestConfig, name: str, step: Step) -> GuestConfig:
    """Noted that a snapshot is being deleted, or gone back to."""
    found = snapshot(config, name)
    return _with(config, name, {**found.settings, "snapstate": step.state}, found.description).edit(
        {"lock": step.lock}
    )


def unlocked(config: GuestConfig) -> GuestConfig:
    """Without the lock of a step; the note stays."""
    return config.edit({}, _locked(config))


def rolled_back(config: GuestConfig, name: str, generation: str) -> GuestConfig:
    """The settings of the snapshot's time; notes and unused volumes stay, what came later is ``unused``.

    ``generation`` is the new id that a guest with ``vmgenid`` learns from that time has gone back. Raises
    ``GuestConfigError`` when the section says something wrong.
    """
    found = snapshot(config, name)
    settings = {k: v for k, v in found.settings.items() if k not in _LEFT_OUT}
    if len(settings.get("vmgenid", "")) > 1:
        settings["vmgenid"] = generation
    settings["parent"] = name
    kept = dict(config.unused)
    going = frozenset(config.settings) - frozenset(settings) - frozenset(kept)
    section = {key: value for key, value in found.settings.items() if key != "snapstate"}
    after = _with(config, name, section, found.description).with_pending(Pending()).edit(settings, going)
    there = {disk.file for disk in after.disks.values()}
    after = after.edit({}, frozenset(key for key, disk in kept.items() if disk.file in there))
    waiting = [Disk.parse(v) for k, v in config.pending.changes.items() if is_disk_key(k)]
    return _keeping(after, [*config.disks.values(), *waiting])


def deleted(config: GuestConfig, name: str) -> GuestConfig:
    """Without a snapshot; what came after it comes after its parent. Volumes that it alone named are
    ``unused``."""
    found = snapshot(config, name)
    after = _with(config, name, {}, "")
    for each in snapshots(after).values():
        if each.parent == name:
            after = _with(after, each.name, _child_of(each.settings, found.parent), each.description)
    parent = {"parent": found.parent} if found.parent and config.text("parent") == name else {}
    orphan = frozenset({"parent"} if config.text("parent") == name and not parent else ())
    after = after.edit(parent, orphan | _locked(config))
    others = [disk for each in snapshots(after).values() for disk in each.disks.values()]
    named = {disk.file for disk in others}
    return _keeping(after, [disk for disk in found.disks.values() if disk.file not in named])


def described(config: GuestConfig, name: str, description: str) -> GuestConfig:
    """With other notes on a snapshot."""
    return _with(config, name, snapshot(config, name).settings, description)


def volumes(config: GuestConfig) -> list[VolumeId]:
    """The guest's own volumes that its snapshots name: disks, and memory."""
    found: list[VolumeId] = []
    for each in snapshots(config).values():
        found += [v for disk in each.disks.values() if (v := owned(config.vmid, disk)) is not None]
        if each.memory is not None:
            found.append(each.memory)
    return list(dict.fromkeys(found))


# Below


def _disks(settings: Mapping[str, str]) -> dict[str, Disk]:
    found = {key: Disk.parse(value) for key, value in sorted(settings.items()) if is_disk_key(key)}
    return {k: d for k, d in found.items() if not (d.is_cdrom or d.flag("ro")) and d.file != "none"}


def _with(config: GuestConfig, name: str, settings: Mapping[str, str], description: str) -> GuestConfig:
    text = config.document.with_section(name, dict(sorted(settings.items())), description).render()
    return GuestConfig.parse(config.vmid, text, config.document.file)


def _locked(config: GuestConfig) -> frozenset[str]:
    """The lock, if it is a step's."""
    return frozenset({"lock"} if config.lock in {step.lock for step in Step} else ())


def _child_of(settings: Mapping[str, str], parent: str) -> dict[str, str]:
    rest = {key: value for key, value in settings.items() if key != "parent"}
    return {**rest, "parent": parent} if parent else rest


def _keeping(config: GuestConfig, drives: Iterable[Disk]) -> GuestConfig:
    """With the guest's own volumes among these drives, where no drive and no ``unused`` has them."""
    waiting = [Disk.parse(v) for k, v in config.pending.changes.items() if is_disk_key(k)]
    named = {disk.file for disk in (*config.disks.values(), *config.unused.values(), *waiting)}
    for disk in drives:
        if disk.file not in named and owned(config.vmid, disk) is not None:
            config = config.edit({free_key("unused", config.settings): disk.file})
            named.add(disk.file)
    return config
