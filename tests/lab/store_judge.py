"""What the writers of the fault walk were told, against what the nodes hold afterwards. Pure.

``judge`` returns a sentence for each promise that was broken.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import store_linearizable as checker

HAPPENED_NOT = ("refused", "conflict")
_STATES = 100_000
"""The most a checker looks at for one file."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a writer asked for and was answered; times in seconds of the host's monotonic clock."""

    id: str
    kind: str
    """own, rename, register (a blind write), swap or append."""
    path: str
    sha: str
    start: float
    value: str | None = None
    expected: str | None = None
    source: str = ""
    end: float | None = None
    outcome: str = "unknown"
    """done, refused, conflict or unknown; who was cut off never knew."""
    version: int = 0
    """A version of the store, where the writer was told, at which it had happened."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What one node holds: below ``chaos`` as /etc/pve shows it, and all of its database."""

    shown: Mapping[str, str]
    """Path to SHA-256."""
    stored: Mapping[str, tuple[str, int]]
    """Path to SHA-256 and version."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The content of the shared files."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, and how much was looked at."""

    findings: tuple[str, ...]
    counts: Mapping[str, int]


def operations(lines: Iterable[str]) -> tuple[list[Operation], list[str]]:
    """The operations that the writers' lines tell of, and a sentence for each that was answered twice."""
    found: dict[str, Operation] = {}
    findings = []
    for line in lines:
        told = json.loads(line)
        if "start" in told:
            found[told["id"]] = Operation(**told)
        elif found[told["id"]].end is not None:
            findings.append(f"{told['id']} was answered twice: {line}")
        else:
            found[told["id"]] = replace(found[told["id"]], **told)
    return list(found.values()), findings


def disagreements(nodes: Mapping[str, Held]) -> list[str]:
    """How nodes differ from the first, and each node's two faces from each other."""
    findings = []
    (first, one), *others = nodes.items()
    for name, node in others:
        for path in _differing(one.stored, node.stored):
            findings.append(
                f"'{path}' is {one.stored.get(path)} on {first}, {node.stored.get(path)} on {name}"
            )
    for name, node in nodes.items():
        stored = {path: sha for path, (sha, _) in node.stored.items() if path.startswith("chaos/")}
        for path in _differing(stored, node.shown):
            shown = node.shown.get(path)
            findings.append(f"'{path}' is {stored.get(path)} in {name}'s database, {shown} in its /etc/pve")
    return findings


def judge(asked: Sequence[Operation], held: Held) -> Verdict:
    """Whether every answer was true, by what the nodes, which agree, hold."""
    by_kind = defaultdict(list)
    for one in asked:
        by_kind[one.kind].append(one)
    findings = _judge_files(by_kind["own"], by_kind["rename"], held)
    findings += _judge_lines(by_kind["append"], held)
    more, counts = _judge_registers(by_kind["register"] + by_kind["swap"], held)
    counts.update(f"{one.kind} {one.outcome}" for one in asked)
    return Verdict((*findings, *more), counts)


def _judge_files(own: Sequence[Operation], renames: Sequence[Operation], held: Held) -> list[str]:
    findings = []
    moved = {one.source: one for one in renames}
    known = {one.path for one in (*own, *renames)}
    for path in held.stored:
        if path.startswith("chaos/own/") and path not in known:
            findings.append(f"'{path}' is there and nobody wrote it")
    for one in own:
        rename = moved.get(one.path)
        places = [one.path, *([rename.path] if rename else [])]
        there = {path: held.stored[path] for path in places if path in held.stored}
        for path, (sha, _) in there.items():
            if sha != one.sha:
                findings.append(f"'{path}' is not what {one.id} wrote: {one}")
        if one.outcome in HAPPENED_NOT and there:
            findings.append(f"'{one.path}' was answered '{one.text}' ({one.outcome}) and is there: {one}")
        if one.outcome == "done":
            findings += _judge_acknowledged(one, rename, there)
    return findings


def _judge_acknowledged(
    one: Operation, rename: Operation | None, there: Mapping[str, tuple[str, int]]
) -> list[str]:
    if len(there) != 1:
        what = "is lost" if not there else "is there under both its names"
        return [f"'{one.path}' was acknowledged and {what}: {one}, {rename}"]
    [(path, (_, version))] = there.items()
    if one.version and version > one.version:
        return [f"'{path}' was acknowledged at version {one.version} and written again at {version}: {one}"]
    if rename is not None and rename.outcome != "unknown":
        due = rename.path if rename.outcome == "done" else one.path
        if path != due:
            return [
                f"the rename of '{one.path}' was answered '{rename.outcome}' and it is at '{path}': {rename}"
            ]
    return []


def _judge_lines(appends: Sequence[Operation], held: Held) -> list[str]:
    """Each acknowledged line is there once, no refused one is; whose end came before a start is before it."""
    findings = []
    by_path = defaultdict(dict)
    for one in appends:
        by_path[one.path][one.value] = one
    for path, asked in by_path.items():
        lines = held.texts.get(path, "").split()
        for value, one in asked.items():
            count = lines.count(value or "")
            if count > 1 or (count == 0 and one.outcome == "done") or (count and one.outcome in HAPPENED_NOT):
                findings.append(f"'{path}' has the line of {one.id} {count} times: {one}")
        if foreign := [line for line in lines if line not in asked]:
            findings.append(f"'{path}' has lines that nobody wrote: {foreign[:5]}")
            continue
        for number, later in enumerate(lines):
            for earlier in lines[:number]:
                end = asked[later].end
                if end is not None and asked[later].outcome == "done" and end < asked[earlier].start:
                    findings.append(
                        f"'{path}' has {later} after {earlier}, which began when {later} had ended"
                    )
    return findings


def _judge_registers(asked: Sequence[Operation], held: Held) -> tuple[list[str], Counter[str]]:
    findings, counts = [], Counter[str]()
    by_path = defaultdict(list)
    for one in asked:
        if one.outcome not in HAPPENED_NOT:
            by_path[one.path].append(one)
    for path, history in by_path.items():
        final = held.texts.get(path)
        try:
            if checker.linearizable([_as_checked(one) for one in history], final, _STATES):
                counts["shared files decided"] += 1
            else:
                told = "\n  ".join(str(one) for one in sorted(history, key=lambda one: one.start))
                findings.append(f"'{path}' is not linearizable; it holds {final!r}:\n  {told}")
        except checker.Undecided:
            counts["shared files undecided"] += 1
    return findings, counts


def _as_checked(one: Operation) -> checker.Operation:
    """A conflict is left out like a refusal: it says that the version was another, not that the value was."""
    kind = "swap" if one.kind == "swap" else "write"
    return checker.Operation(
        kind, one.start, one.end if one.outcome == "done" else None, one.value, one.expected
    )


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
