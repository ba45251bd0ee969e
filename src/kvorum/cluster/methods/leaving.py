"""How nodes go: removed by others, leaving by themselves, and told so when they come back."""

from __future__ import annotations

import asyncio
from typing import TypedDict

from pydantic import Field

from kvorum.access import Authentication
from kvorum.cluster.change import CONFIGURATION, Cluster, refuse_meanwhile
from kvorum.cluster.expected import expect_votes, wait_quorate
from kvorum.cluster.leave import removed
from kvorum.cluster.leave.ask import ask_if_removed
from kvorum.cluster.leave.refusals import Leaver, leave_refusals, removal_refusals
from kvorum.cluster.leave.removal import guests_of, own_fingerprint, remove
from kvorum.cluster.leave.steps import leave
from kvorum.cluster.methods.models import configuration_of, configured
from kvorum.core.errors import Conflict, NoQuorum
from kvorum.interface import (
    Anyone,
    Boolean,
    Command,
    Context,
    NodeName,
    NoParameters,
    Parameters,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.store import ClusterLog, Severity, Store


class Removal(Parameters):
    node: NodeName
    force: Boolean = Field(
        False, description="Give up the guests of a dead node: their configurations go with it."
    )


class Known(Parameters):
    fingerprint: str = Field(
        pattern="^([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}$",
        description="SHA-256 fingerprint of the certificate that the asking node has for other nodes.",
    )


class RemovedRow(TypedDict):
    """A node that left."""

    node: str
    time: int
    by: str


@method(
    "DELETE",
    "/cluster/config/nodes/{node}",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm delnode", "node"),),
)
async def delnode(ctx: Context, p: Removal) -> None:
    """Removes a node from the cluster configuration."""
    store = ctx.store
    _, old = configured(store)
    leaver = _leaver(store, p.node)
    if refusals := removal_refusals(old, leaver, store.node, force=p.force):
        raise Conflict("\n".join(refusals))
    if not store.membership.quorate:
        if leaver.joined:
            raise NoQuorum(f"no quorum, so no node can be removed: {store.membership.reason}")
        # It was never here, so nothing of the cluster can be where it is.
        await asyncio.to_thread(expect_votes, old.without_node(p.node).total_votes)
        await wait_quorate(store)
    removal = await remove(store, p.node, ctx.identity.name, leaver.guests)
    if removal is None:
        return
    _say(ctx, f"node '{p.node}' was removed from the cluster", *removal.notes)
    if removal.configuration is not None:
        from kvorum.cluster.following import wait_until_followed  # what follows is pvedaemon's alone

        await wait_until_followed(store, removal.configuration.config_version)


@method(
    "POST",
    "/kvorum/cluster/leave",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm leave"),),
)
async def leave_cluster(ctx: Context, p: NoParameters) -> Work:
    """Have this node leave its cluster and be one of its own, fresh and ready to join again.

    A cluster's last node keeps its configuration. A node that was removed while away cleans up with it, too.
    """
    cluster, store = ctx.service(Cluster), ctx.store
    refuse_meanwhile(cluster)
    configuration = configuration_of(store)
    told = cluster.host.removed.exists()
    if not told and configuration is not None and not store.membership.quorate:
        told = await ask_if_removed(store) is not None
    present = [member.name for member in store.membership.members if member.online]
    last = not told and configuration is not None and [n.name for n in configuration.nodes] == [store.node]
    leaver = _leaver(store, store.node)
    if last:
        leaver = Leaver(store.node, True, ())  # its guests stay where they are
    if refusals := leave_refusals(configuration, leaver, present, removed=told):
        raise Conflict("\n".join(refusals))
    if not told and not store.membership.quorate:
        raise NoQuorum(
            f"no quorum, so this node can't leave in good order: {store.membership.reason}; have it "
            "removed on a node that has quorum (pvecm delnode), then run 'pvecm leave' here again"
        )
    if told and (running := cluster.host.running_guests()):
        raise Conflict(f"VM {', '.join(running)} runs on this node: shut it down first")
    who = ctx.identity.name

    async def run(log: TaskLog) -> None:
        ctx.service(Authentication).bequeath()
        await leave(cluster, who, log.line, removed=told, last=last)
        log.line(f"node '{store.node}' is in no cluster any more; its page has a new certificate")

    return Work("clusterleave", "", run)


@method("GET", "/kvorum/cluster/removed", permission=Anyone())
async def was_removed(ctx: Context, p: Known) -> RemovedRow | None:
    """Tell a node that asks by its certificate's fingerprint whether it was removed from this cluster."""
    file = ctx.store.read(removed.FILE)
    found = removed.find(file.text, p.fingerprint) if file is not None and _is_member(ctx.store) else None
    return RemovedRow(node=found.node, time=found.time, by=found.by) if found else None


def _is_member(store: Store) -> bool:
    return store.read(CONFIGURATION) is not None and store.membership.quorate


def _leaver(store: Store, node: str) -> Leaver:
    online = any(member.name == node and member.online for member in store.membership.members)
    return Leaver(node, online, guests_of(store, node), bool(own_fingerprint(store, node)))


def _say(ctx: Context, *sentences: str) -> None:
    """Into the cluster's log, where admins look for what became of a setting."""
    if log := ctx.services.find(ClusterLog):
        for sentence in sentences:
            log.note(ctx.identity.name, sentence, Severity.WARNING)
