"""Which certificate a node's page shows after a join, and the switch to the cluster's (W9)."""

from __future__ import annotations

from typing import TypedDict

from kvorum.cluster.certificates import fingerprint
from kvorum.cluster.methods.models import OneNode
from kvorum.cluster.page_certificate import FORMER, NODE, OWN, shown, take
from kvorum.interface import Command, Context, Privilege, method

_WORDS = {OWN: "custom", FORMER: "former", NODE: "cluster"}


class PageCertificate(TypedDict):
    """What the page of a node shows, and what it would show after the switch."""

    shows: str
    """``custom``, ``former`` (from before the join) or ``cluster``."""
    fingerprint: str
    cluster_fingerprint: str


@method(
    "GET", "/kvorum/cluster/nodes/{node}/page-certificate", permission=Privilege("/nodes/{node}", "Sys.Audit")
)
async def page_certificate(ctx: Context, p: OneNode) -> PageCertificate:
    """Which certificate the page of a node shows, and the fingerprint of the cluster's for that node."""
    name = shown(ctx.store, p.node)
    files = [ctx.store.read(f"nodes/{p.node}/{one}.pem") for one in (name, NODE)]
    prints = [fingerprint(file.data) if file is not None else "" for file in files]
    return PageCertificate(shows=_WORDS[name], fingerprint=prints[0], cluster_fingerprint=prints[1])


@method(
    "DELETE",
    "/kvorum/cluster/nodes/{node}/page-certificate",
    permission=Privilege("/nodes/{node}", "Sys.Modify"),
    protected=True,
    commands=(Command("pvecm takecert", "node"),),
)
async def take_certificate(ctx: Context, p: OneNode) -> bool:
    """Have a node's page show the cluster's certificate instead of the one from before its join."""
    return await take(ctx.store, p.node, ctx.identity.name)
