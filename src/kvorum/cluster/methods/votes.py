"""``pvecm votes``: how many votes a node has, changed in steps of one that every present node follows."""

from __future__ import annotations

import asyncio

from pydantic import Field

from kvorum.cluster.change import CONFIGURATION, Cluster
from kvorum.cluster.methods.information import quorum_row
from kvorum.cluster.methods.models import QuorumRow, configured
from kvorum.cluster.quorum import Device, Shape, Voter, cautions, explain
from kvorum.core.errors import Conflict, KvorumError, OutcomeUnknown, ParameterError
from kvorum.corosync import Configuration, ConfiguredNode, judge
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    NodeOnly,
    NoParameters,
    Parameters,
    Privilege,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.store import Expect, File, Store, Write

VOTES_MOST = 255


class NewVotes(Parameters):
    node: NodeName = Field(description="The node whose votes are changed.")
    votes: int = Field(ge=0, le=VOTES_MOST, description="Its votes from now on.")


class Votes(NewVotes):
    force: Boolean = Field(False, description="Also if the nodes that are here lose their quorum by it.")


class Forecast(QuorumRow):
    """Quorum explained as it would be."""

    refusals: list[str]
    """Why the change is refused now; none: it is not."""


@method("GET", "/kvorum/cluster/votes", permission=Privilege("/", "Sys.Audit"), protected=True)
async def forecast(ctx: Context, p: NewVotes) -> Forecast:
    """Quorum explained as it would be if a node had another number of votes, and what forbids that now."""
    _, old = configured(ctx.store)
    _listed(old, p.node)
    refusals: list[str] = []
    now = old
    while not refusals and _listed(now, p.node).votes != p.votes:
        before, now = now, _one_step(now, p)
        refusals = _refusals(ctx.store, before, now, force=False)
    told = explain(_shape(ctx.store, old.with_votes(p.node, p.votes)))
    return Forecast(**quorum_row(told), refusals=refusals)


@method("GET", "/kvorum/cluster/configuration", permission=NodeOnly(), protected=True)
async def configuration(ctx: Context, p: NoParameters) -> str:
    """The corosync.conf that this node runs, for a node that was off while it changed."""
    return await asyncio.to_thread(ctx.service(Cluster).host.configuration.read_text)


@method(
    "POST",
    "/kvorum/cluster/votes",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm votes", "node", "votes"),),
)
async def set_votes(ctx: Context, p: Votes) -> Work:
    """Give a node another number of votes; in force on all nodes at once, and no file to edit."""
    _, old = configured(ctx.store)
    listed = _listed(old, p.node)
    if listed.votes != p.votes:
        _checked(ctx.store, old, _one_step(old, p), p.force)

    async def run(log: TaskLog) -> None:
        await change_votes(ctx.store, p, ctx.identity.name, log)

    return Work("clustervotes", p.node, run)


async def change_votes(store: Store, p: Votes, who: str, log: TaskLog) -> None:
    """Go there one vote at a time; raises ``KvorumError`` saying where it stopped."""
    while True:
        file, old = configured(store)
        listed = old.node(p.node)
        if listed is None:
            raise Conflict(f"node '{p.node}' was removed meanwhile")
        if listed.votes == p.votes:
            break
        new = _one_step(old, p)
        _checked(store, old, new, p.force)
        await _write(store, file, new, who)
        from kvorum.cluster.following import wait_until_followed  # what follows is pvedaemon's alone

        late = await wait_until_followed(store, new.config_version)
        if late:
            raise KvorumError(
                f"corosync on {', '.join(late)} does not run version {new.config_version} of corosync.conf "
                "yet: look at pvedaemon there, then say it again"
            )
    log.line(f"{p.node} has {p.votes} votes: {old.total_votes} in all, {old.quorum} make a quorum")
    for caution in cautions(_shape(store, old)):
        log.line(f"note: {caution.sentence}")  # a task with warnings ends a command with 1


def _listed(configuration: Configuration, name: str) -> ConfiguredNode:
    node = configuration.node(name)
    if node is None:
        names = ", ".join(node.name for node in configuration.nodes)
        raise ParameterError({"node": f"the cluster has no node '{name}', only: {names}"})
    return node


def _one_step(old: Configuration, p: NewVotes) -> Configuration:
    listed = old.node(p.node)
    assert listed is not None
    return old.with_votes(p.node, listed.votes + (1 if p.votes > listed.votes else -1)).bumped()


def _checked(store: Store, old: Configuration, new: Configuration, force: bool) -> None:
    if errors := _refusals(store, old, new, force=force):
        raise Conflict("; ".join(errors))


def _refusals(store: Store, old: Configuration, new: Configuration, *, force: bool) -> list[str]:
    present = {member.nodeid for member in store.membership.members if member.online}
    return list(judge(old, new.text, present, kept=True, force=force).errors)


async def _write(store: Store, file: File, new: Configuration, who: str) -> None:
    try:
        await store.transact([Write(CONFIGURATION, new.text.encode())], [Expect.of(file)], who=who)
    except OutcomeUnknown:
        # It may have changed the quorum that its answer waited for. If it is there, it is ours.
        now = store.read(CONFIGURATION)
        if now is None or now.text != new.text:
            raise


def _shape(store: Store, now: Configuration) -> Shape:
    online = {member.nodeid for member in store.membership.members if member.online}
    nodes = tuple(Voter(node.name, node.votes, node.nodeid in online) for node in now.nodes)
    device = Device(now.device.votes, True) if now.device else None
    resources = store.read("ha/resources.cfg")
    return Shape(nodes, device, links=len(now.links), ha=bool(resources and resources.text.strip()))
