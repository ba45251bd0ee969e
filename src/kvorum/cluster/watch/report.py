"""What a node tells the others of its links and clocks, in memory only; and what all of it comes to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

KEY = "links-and-clocks"


class LinkRow(msgspec.Struct, frozen=True, array_like=True):
    """A link to a peer."""

    to: str
    link: int
    connected: bool
    latency_us: int
    loss_percent: float | None
    downs: int


class ClockRow(msgspec.Struct, frozen=True, array_like=True):
    """A peer's clock."""

    to: str
    ahead_ms: float
    unsure_ms: float
    asked: int
    """Unix seconds."""


class Warning(msgspec.Struct, frozen=True, array_like=True):
    """One thing to know: ``link-down``, ``link-loss``, ``link-slow`` or ``clock-apart``."""

    kind: str
    nodes: tuple[str, ...]
    """Whom it is about, sorted: two nodes for a link."""
    link: int | None
    sentence: str


class Report(msgspec.Struct, frozen=True, array_like=True):
    """All that one node tells."""

    links: tuple[LinkRow, ...] = ()
    clocks: tuple[ClockRow, ...] = ()
    warnings: tuple[Warning, ...] = ()


def encode(report: Report) -> bytes:
    """As it is published."""
    return msgspec.msgpack.encode(report)


def decode(published: Mapping[str, bytes]) -> dict[str, Report]:
    """Node to its report, by name; what can't be read (another version's) tells nothing."""
    found = {}
    for node, value in sorted(published.items()):
        try:
            found[node] = msgspec.msgpack.decode(value, type=Report)
        except msgspec.MsgspecError:
            continue
    return found


def warnings(reports: Mapping[str, Report]) -> tuple[Warning, ...]:
    """What all nodes warn of, each thing once: both ends of a link see it, and all see a wrong clock."""
    found: dict[tuple[str, tuple[str, ...], int | None], Warning] = {}
    for report in reports.values():
        for warning in report.warnings:
            found.setdefault((warning.kind, warning.nodes, warning.link), warning)
    return tuple(found[key] for key in sorted(found, key=lambda key: (key[0], key[1], key[2] or 0)))
