"""``pvecm link add, set, remove``: links change while the cluster runs, all nodes asked before."""

from __future__ import annotations

import asyncio
import ipaddress

from pydantic import Field

from kvorum.cluster.links import LINK_NUMBERS, PRIORITY_MAX, Link
from kvorum.cluster.methods.models import Links, configured
from kvorum.cluster.node_files import local_addresses
from kvorum.cluster.relink.change import Change, added, moved, removed
from kvorum.cluster.relink.changer import ADDRESSES, CHECK, CONNECTED, Relinker
from kvorum.cluster.relink.reach import look_from_here
from kvorum.cluster.relink.readdress import LINK, Readdress
from kvorum.cluster.watch.counted import counted
from kvorum.core.errors import KvorumError, NoQuorum, ParameterError
from kvorum.corosync import Configuration, ConfiguredNode
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    NodeOnly,
    Parameters,
    Peers,
    RootOnly,
    TaskLog,
    Where,
    Work,
    method,
)

_FORCE = "Also if nodes are off, which then can't be asked whether they reach the others."
_LINK = "The number of the link, 0 to 7."
_LISTED_MAX = 4096


class Addition(Parameters):
    link: int = Field(ge=0, le=max(LINK_NUMBERS), description=_LINK)
    addresses: str = Field(
        min_length=1,
        max_length=_LISTED_MAX,
        description="Each node's address, NODE=ADDRESS,…; or a network such as 10.1.0.0/24 in which each "
        "node has one.",
    )
    priority: int | None = Field(
        None, ge=0, le=PRIORITY_MAX, description="Of connected links, the one with the highest is used."
    )
    force: Boolean = Field(False, description=_FORCE)


class Move(Links):
    node: NodeName = Field(description="The node that has other addresses.")
    force: Boolean = Field(False, description=_FORCE)


class Subtraction(Parameters):
    link: int = Field(ge=0, le=max(LINK_NUMBERS), description=_LINK)
    force: Boolean = Field(False, description="Also if nodes are off, which then follow when they are back.")


class OnNode(Parameters):
    node: NodeName


class Check(OnNode):
    address: str = Field(max_length=64, description="The node's own address on the link.")
    others: str = Field(
        "", max_length=_LISTED_MAX, description="The others' addresses on it, NODE=ADDRESS,…."
    )


@method(
    "POST",
    "/kvorum/cluster/links",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm link add", "link", "addresses"),),
)
async def add_link(ctx: Context, p: Addition) -> Work:
    """Add a link to the cluster: each node needs an address on it, at which the others reach it."""
    relinker = _relinker(ctx)
    _, now = configured(ctx.store)
    addresses = await _addresses(ctx, now, p.addresses)
    change = added(now, p.link, addresses, p.priority)
    await relinker.take_over(_unlogged)
    await relinker.check(change, force=p.force)
    who = ctx.identity.name

    async def run(log: TaskLog) -> None:
        await relinker.carry_out(change, who, log.line)
        log.line(f"link {p.link} connects all nodes that are here")

    return Work("clusterlinks", str(p.link), run)


@method(
    "PUT",
    "/kvorum/cluster/links",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm link set", "node"),),
)
async def set_link(ctx: Context, p: Move) -> Work:
    """Give a node other addresses on links that are there; one link after another, each there and back.

    On link 0 the node stands aside for some seconds: its guests run on, its /etc/pve is read-only meanwhile.
    Another node than this one has to see to that.
    """
    relinker = _relinker(ctx)
    links = p.links()
    _, now = configured(ctx.store)
    listed = _listed(now, p.node)
    if not links:
        raise ParameterError({f"link{min(now.links)}": "give at least one link's new address (--link1 …)"})
    await relinker.take_over(_unlogged)
    for number, link in links.items():
        if not _is_there(now, p.node, number, link):
            await relinker.check(_move(now, listed, number, link), force=p.force)
    who = ctx.identity.name

    async def run(log: TaskLog) -> None:
        for number, link in links.items():
            _, current = configured(ctx.store)
            if _is_there(current, p.node, number, link):
                log.line(f"{p.node} has {link.address} on link {number} already")
                continue
            change = _move(current, _listed(current, p.node), number, link)
            await relinker.check(change, force=p.force)
            await relinker.carry_out(change, who, log.line)
            log.line(f"{p.node} has {link.address} on link {number}, and all nodes that are here reach it")

    return Work("clusterlinks", p.node, run)


@method(
    "DELETE",
    "/kvorum/cluster/links/{link}",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm link remove", "link"),),
)
async def remove_link(ctx: Context, p: Subtraction) -> Work:
    """Take a link out of the cluster, where others connect all nodes."""
    relinker = _relinker(ctx)
    _, now = configured(ctx.store)
    change = removed(now, p.link)
    await relinker.take_over(_unlogged)
    await relinker.check(change, force=p.force)
    who = ctx.identity.name

    async def run(log: TaskLog) -> None:
        await relinker.carry_out(change, who, log.line)
        log.line(f"link {p.link} is gone")
        _, left = configured(ctx.store)
        if len(left.links) == 1:
            log.line("note: one link is left: one cable, switch or driver cuts the cluster")

    return Work("clusterlinks", str(p.link), run)


@method("POST", CHECK, permission=NodeOnly(), where=Where.NODE, protected=True)
async def check_link(ctx: Context, p: Check) -> list[str]:
    """Why the node can't use an address of its own towards others' addresses; nothing when it can."""
    return await look_from_here(ctx.store, p.address, _pairs(p.others))


@method("GET", CONNECTED, permission=NodeOnly(), where=Where.NODE, protected=True)
async def connected_links(ctx: Context, p: OnNode) -> dict[str, list[int]]:
    """The links that connect the node to each other one now, by its corosync's word."""
    _, now = configured(ctx.store)
    others = {node.nodeid: node for node in now.nodes if node.name != ctx.store.node}
    found = await asyncio.to_thread(counted, [(n.nodeid, k) for n in others.values() for k in n.addresses])
    rows: dict[str, list[int]] = {node.name: [] for node in others.values()}
    for (nodeid, link), one in found.items():
        if one.connected:
            rows[others[nodeid].name].append(link)
    return rows


@method("GET", ADDRESSES, permission=NodeOnly(), where=Where.NODE, protected=True)
async def own_addresses(ctx: Context, p: OnNode) -> list[str]:
    """The node's own addresses, without loopback and link-local ones."""
    return local_addresses()


def _relinker(ctx: Context) -> Relinker:
    configured(ctx.store)
    if not ctx.store.membership.quorate:
        raise NoQuorum(f"no quorum, so no link can be changed: {ctx.store.membership.reason}")
    return ctx.service(Relinker)


def _listed(now: Configuration, name: str) -> ConfiguredNode:
    listed = now.node(name)
    if listed is None:
        names = ", ".join(node.name for node in now.nodes)
        raise ParameterError({"node": f"the cluster has no node '{name}', only: {names}"})
    return listed


def _move(now: Configuration, listed: ConfiguredNode, number: int, link: Link) -> Change:
    """The change that gives a node the address; raises ``ParameterError`` for what link 0 does not take."""
    if number != LINK:
        return moved(now, number, listed.name, link.address, link.priority)
    priority = now.link_options(LINK).get("knet_link_priority")
    if link.priority is not None and str(link.priority) != priority:
        raise ParameterError(
            {"link0": f"the priority of link {LINK} can't change while the cluster runs; leave it out"}
        )
    return Readdress.of(now, listed, link.address)


def _is_there(now: Configuration, node: str, number: int, link: Link) -> bool:
    listed = now.node(node)
    has = listed is not None and listed.addresses.get(number) == link.address
    priority = now.link_options(number).get("knet_link_priority")
    return has and (link.priority is None or str(link.priority) == priority)


async def _addresses(ctx: Context, now: Configuration, text: str) -> dict[str, str]:
    """Each node's address, as given or as it is in the network; raises ``ParameterError``."""
    if "=" in text:
        try:
            return _pairs(text)
        except ValueError as error:
            raise ParameterError({"addresses": str(error)}) from None
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ParameterError(
            {"addresses": f"'{text}' is neither NODE=ADDRESS,… nor a network such as 10.1.0.0/24"}
        ) from None
    peers, found, lacking = ctx.service(Peers), {}, []
    for node in now.nodes:
        try:
            answer = await peers.call(node.name, "GET", ADDRESSES.format(node=node.name))
        except KvorumError as error:
            lacking.append(f"node '{node.name}' can't be asked for its address: {error}")
            continue
        rows = answer if isinstance(answer, list) else []
        inside = [str(a) for a in rows if ipaddress.ip_address(str(a)) in network]
        if len(inside) == 1:
            found[node.name] = inside[0]
        else:
            has = f"has {', '.join(inside)}" if inside else "has none"
            lacking.append(f"node '{node.name}' {has} in {network}: say NODE=ADDRESS,…")
    if lacking:
        raise ParameterError({"addresses": "; ".join(lacking)})
    return found


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in text.split(","):
        node, _, address = word.strip().partition("=")
        if not word.strip():
            continue
        if not node or not address:
            raise ValueError(f"'{word}' is not NODE=ADDRESS")
        if node in found:
            raise ValueError(f"node '{node}' is given twice")
        found[node] = Link.parse(address).address
    return found


def _unlogged(line: str) -> None:
    """What ends another node's change is told in no task."""
