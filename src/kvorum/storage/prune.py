"""Which backups stay, by rules such as ``keep-last=3,keep-daily=7``. Pure.

Every rule keeps the newest backup of each of its last so many hours, days, weeks, months or years that have
one. Rules are applied in the order of ``RULES``; a later one looks past what an earlier one keeps, at older
periods. Protected backups and those with a name of their own are never removed, and count for no rule.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvorum.core import property_string
from kvorum.storage.kind import Volume

_PERIODS: Mapping[str, Callable[[datetime.datetime], tuple[int, ...]]] = {
    "keep-hourly": lambda at: (at.year, at.month, at.day, at.hour),
    "keep-daily": lambda at: (at.year, at.month, at.day),
    "keep-weekly": lambda at: tuple(at.isocalendar()[:2]),
    "keep-monthly": lambda at: (at.year, at.month),
    "keep-yearly": lambda at: (at.year,),
}
RULES = ("keep-all", "keep-last", *_PERIODS)
_NAME = re.compile(
    r"backup/vzdump-(?P<type>qemu|lxc)-(?P<vmid>\d+)-(?P<at>\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)\.(?:vma|tar|tgz)"
    r"(?:\.(?:gz|lzo|zst|bz2))?"
)
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup and what becomes of it: ``keep``, ``remove``, ``protected``, or ``renamed`` (kept)."""

    volid: str
    type: str
    vmid: int | None
    ctime: int
    mark: str


def parse(text: str) -> dict[str, int]:
    """The rules in a property string; raises ``ValueError`` naming the part that is wrong.

    ``keep-all`` stands alone; without any rule everything is kept.
    """
    rules: dict[str, int] = {}
    for name, value in property_string.parse(text).items() if text else ():
        if name not in RULES:
            raise ValueError(f"'{name}' is no rule; known: {', '.join(RULES)}")
        if name == "keep-all":
            rules[name] = int(property_string.boolean(value))
        elif value.isascii() and value.isdigit() and int(value) <= _MOST:
            rules[name] = int(value)
        else:
            raise ValueError(f"{name}={value}: write a whole number from 0 to {_MOST}")
    if rules.get("keep-all") and len(rules) > 1:
        raise ValueError("keep-all=1 keeps everything: no other rule can stand beside it")
    return rules


def judge(volumes: Iterable[Volume], rules: Mapping[str, int]) -> list[Backup]:
    """Every backup with its mark, the newest of each guest first, guests apart."""
    groups: dict[tuple[str, int], list[tuple[datetime.datetime, Volume]]] = {}
    result: list[Backup] = []
    for volume in volumes:
        named = _named(volume.volid)
        if named is None:
            result.append(Backup(volume.volid, "unknown", volume.vmid, volume.ctime, "renamed"))
            continue
        type, vmid, at = named
        if volume.protected:
            result.append(Backup(volume.volid, type, vmid, _unix(at), "protected"))
        else:
            groups.setdefault((type, vmid), []).append((at, volume))
    for (type, vmid), found in groups.items():
        found.sort(key=lambda one: (one[0], one[1].volid), reverse=True)
        kept = _kept([at for at, _ in found], rules)
        result += [
            Backup(volume.volid, type, vmid, _unix(at), "keep" if number in kept else "remove")
            for number, (at, volume) in enumerate(found)
        ]
    return sorted(result, key=lambda one: (one.type, one.vmid or 0, -one.ctime, one.volid))


def _kept(times: Sequence[datetime.datetime], rules: Mapping[str, int]) -> set[int]:
    """Which of these moments (newest first) stay."""
    counts = {name: count for name, count in rules.items() if name != "keep-all" and count}
    if not counts:
        return set(range(len(times)))
    kept = set(range(min(counts.get("keep-last", 0), len(times))))
    for name, period in _PERIODS.items():
        covered = {period(times[number]) for number in kept}
        left = counts.get(name, 0)
        for number, at in enumerate(times):
            if left == 0:
                break
            if number not in kept and period(at) not in covered:
                covered.add(period(at))
                kept.add(number)
                left -= 1
    return kept


def _named(volid: str) -> tuple[str, int, datetime.datetime] | None:
    """Type, guest and moment that a backup's name says; ``None`` for a name of its own."""
    match = _NAME.fullmatch(volid.partition(":")[2])
    if match is None:
        return None
    try:
        return (
            match["type"],
            int(match["vmid"]),
            datetime.datetime.strptime(match["at"], "%Y_%m_%d-%H_%M_%S"),
        )
    except ValueError:
        return None


def _unix(at: datetime.datetime) -> int:
    """A node's own wall clock, as backups are named by it, in Unix seconds."""
    return int(at.timestamp())
