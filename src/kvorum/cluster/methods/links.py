"""``pvecm link status``: what is known of the cluster's links and clocks."""

from __future__ import annotations

import time
from typing import TypedDict

from kvorum.cluster.methods.models import configuration_of
from kvorum.cluster.watch import report
from kvorum.interface import Anyone, Command, Context, NoParameters, Privilege, method

_AUDIT = Privilege("/", "Sys.Audit")


class LinkStatusRow(TypedDict):
    """One link, as one of its two nodes sees it."""

    node: str
    to: str
    link: int
    address: str
    """The node's own."""
    to_address: str
    connected: bool
    latency_us: int
    """There and back, Corosync's average of ten minutes at most."""
    loss_percent: float | None
    """Of the last minute's pings; ``None`` until there are enough."""
    downs: int
    """How often it went down since the node's corosync started."""


class ClockStatusRow(TypedDict):
    """One node's clock, as another measures it."""

    node: str
    to: str
    ahead_ms: float
    """How far the clock of ``to`` is ahead of the node's."""
    unsure_ms: float
    asked: int


class WarningRow(TypedDict):
    """What is to be said: ``link-down``, ``link-loss``, ``link-slow``, ``clock-apart``."""

    kind: str
    nodes: list[str]
    link: int | None
    sentence: str


class LinksRow(TypedDict):
    """The cluster's links and clocks, as its nodes tell them now."""

    links: list[LinkStatusRow]
    clocks: list[ClockStatusRow]
    warnings: list[WarningRow]
    silent: list[str]
    """Nodes that are here and tell nothing (yet)."""


@method("GET", "/kvorum/cluster/clock", permission=Anyone())
async def clock(ctx: Context, p: NoParameters) -> float:
    """This node's time now, in Unix seconds with fractions, for nodes that compare theirs."""
    return time.time()


@method(
    "GET", "/kvorum/links", permission=_AUDIT, commands=(Command("pvecm link status", output="link status"),)
)
async def link_status(ctx: Context, p: NoParameters) -> LinksRow:
    """The state, latency and loss of each link, how far clocks are apart, and what is to be warned of."""
    reports = report.decode(ctx.store.published(report.KEY))
    configuration = configuration_of(ctx.store)
    addresses = {node.name: node.addresses for node in configuration.nodes} if configuration else {}
    here = [m.name for m in ctx.store.membership.members if m.online]
    return LinksRow(
        links=[
            LinkStatusRow(
                node=node,
                to=row.to,
                link=row.link,
                address=addresses.get(node, {}).get(row.link, ""),
                to_address=addresses.get(row.to, {}).get(row.link, ""),
                connected=row.connected,
                latency_us=row.latency_us,
                loss_percent=row.loss_percent,
                downs=row.downs,
            )
            for node, told in reports.items()
            for row in told.links
        ],
        clocks=[
            ClockStatusRow(node=node, to=r.to, ahead_ms=r.ahead_ms, unsure_ms=r.unsure_ms, asked=r.asked)
            for node, told in reports.items()
            for r in told.clocks
        ],
        warnings=[
            WarningRow(kind=w.kind, nodes=list(w.nodes), link=w.link, sentence=w.sentence)
            for w in report.warnings(reports)
        ],
        silent=[name for name in here if len(here) > 1 and name not in reports],
    )
