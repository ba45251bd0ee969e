"""What changes the cluster: create, join, take a node in, let it go, and expected votes."""

from __future__ import annotations

import asyncio
import re

from kvorum.access import Authentication
from kvorum.cluster.admission import (
    JOIN_API_VERSION,
    check_failed,
    clock_refusals,
    create_refusals,
    join_refusals,
)
from kvorum.cluster.bring import Brought, clashes, left_behind
from kvorum.cluster.change import Cluster, create, join, refuse_meanwhile
from kvorum.cluster.expected import expect_votes
from kvorum.cluster.join_token import new_secret, read_ticket
from kvorum.cluster.links import Link, addresses, priorities
from kvorum.cluster.methods.admitting import request_of, take_in
from kvorum.cluster.methods.models import (
    Added,
    AddNode,
    Create,
    Expected,
    Join,
    OneNode,
    Peer,
    configured,
)
from kvorum.cluster.methods.withdrawing import take_off
from kvorum.cluster.peer import INFORMATION, RemotePeer
from kvorum.cluster.qdevice.device import misfit
from kvorum.cluster.qdevice.follower import DeviceFollower
from kvorum.cluster.qdevice.local import LocalDevice
from kvorum.cluster.reach import reach_refusals, silent_links
from kvorum.cluster.remote import RemoteNode, peer_fingerprint
from kvorum.cluster.renumber import Renumbering, draft
from kvorum.core.errors import (
    Conflict,
    KvorumError,
    ParameterError,
)
from kvorum.core.paths import Paths
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.interface import (
    Command,
    Context,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.storage import Storages
from kvorum.store import Store

_RING = re.compile(r"ring([0-7])_addr")


@method(
    "POST",
    "/cluster/config",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm create", "clustername"),),
)
async def create_cluster(ctx: Context, p: Create) -> Work:
    """Generate new cluster configuration. If no links given, default to local IP address as link0."""
    cluster = ctx.service(Cluster)
    refuse_meanwhile(cluster)
    links = p.links()
    refusals = create_refusals(await cluster.host.facts(), links)
    if refusals:
        raise Conflict("\n".join(refusals))
    if not links:
        links = {0: Link(await cluster.host.own_address())}
    first = ConfiguredNode(ctx.store.node, p.nodeid, p.votes, addresses(links))
    made = new_cluster(p.clustername, first, priorities(links), token_coefficient=p.token_coefficient)

    async def run(log: TaskLog) -> None:
        await create(cluster, made.text, log.line)

    return Work("clustercreate", p.clustername, run)


@method(
    "POST",
    "/cluster/config/join",
    permission=RootOnly(),
    protected=True,
    task=True,
    commands=(Command("pvecm add", "hostname"),),
)
async def join_cluster(ctx: Context, p: Join) -> Work:
    """Joins this node into an existing cluster. If no links are given, default to IP resolved by node's
    hostname on single link (fallback fails for clusters with multiple links)."""
    cluster = ctx.service(Cluster)
    refuse_meanwhile(cluster)
    links = p.links()
    refusals = join_refusals(await cluster.host.facts(), links, keep_guests=p.keep_guests or p.renumber)
    if refusals and not p.force:
        raise Conflict(check_failed(refusals))
    pinned, secret = p.fingerprint, None
    if p.token is not None:
        ticket = read_ticket(p.token)
        pinned, secret = p.fingerprint or ticket.fingerprint, ticket.secret
    elif p.password is None:
        raise ParameterError({"password": "give the peer's root password, or a token ('pvecm token' there)"})
    if pinned is None:
        shown = await peer_fingerprint(p.hostname)
        raise ParameterError(
            {
                "fingerprint": f"the certificate of {p.hostname} has the SHA-256 fingerprint {shown}; "
                f"compare it with what {p.hostname} shows, then repeat with --fingerprint {shown}"
            }
        )
    address = await cluster.host.own_address() if 0 not in links else links[0].address
    warnings = [f"warning: {text}" for text in refusals]
    password, trusted = (None if secret else p.password), pinned
    guests = _own_guests(ctx.store) if p.keep_guests or p.renumber else {}
    async with RemoteNode(p.hostname, password, trusted) as remote:
        await _ask_peer(remote, ctx.store.node, links, address, p, secret)
        taken = await _taken(remote, ctx.store.node, secret) if guests else {}

    own = ctx.store.read("storage.cfg")
    storages = own.text if own is not None else ""
    form = _request(links, address, p)
    other_ids = Renumbering()
    if p.renumber:
        other_ids = await draft(Storages(ctx.store, cluster.paths), guests, taken)
    elif said := clashes(Brought(guests), taken, ctx.store.node):
        raise Conflict(check_failed(said))
    if p.keep_guests or p.renumber:
        brought = {other_ids.vmids.get(vmid, vmid): other_ids.applied(text) for vmid, text in guests.items()}
        form["brought"] = Brought(brought, storages).text()
    if secret is None:
        form["withdrawal"] = new_secret()

    async def run(log: TaskLog) -> None:
        ctx.service(Authentication).bequeath()
        for warning in warnings:
            log.warn(warning)
        log.line(f"Establishing API connection with host '{p.hostname}'")
        async with RemoteNode(p.hostname, password, trusted) as remote:
            log.line("Login succeeded." if secret is None else "The join token is good.")
            peer = RemotePeer(remote, ctx.store.node, form, secret)
            withdrawal = secret or form["withdrawal"]
            found = {"host": p.hostname, "fingerprint": trusted, "secret": withdrawal}
            for vmid, new in other_ids.vmids.items():
                log.line(f"VM {vmid} is to be VM {new}: the cluster has a VM {vmid}")
            await join(cluster, peer, log.line, found, other_ids)
        await _follow_device(ctx, log)
        shared = ctx.store.read("storage.cfg")
        for said in left_behind(shared.text if shared is not None else "", storages, ctx.store.node):
            log.line(said)
        log.line(f"successfully added node '{ctx.store.node}' to cluster.")

    return Work("clusterjoin", "", run)


@method("GET", "/kvorum/cluster/fingerprint", permission=RootOnly(), protected=True)
async def fingerprint(ctx: Context, p: Peer) -> str:
    """The SHA-256 fingerprint of the certificate that a host shows, for an admin to compare before a join."""
    return await peer_fingerprint(p.hostname)


@method("POST", "/cluster/config/nodes/{node}", permission=RootOnly(), protected=True)
async def add_node(ctx: Context, p: AddNode) -> Added:
    """Adds a node to the cluster configuration. This call is for internal use."""
    return await take_in(ctx, request_of(p, ctx.identity.address), ctx.identity.name)


@method("POST", "/kvorum/cluster/nodes/{node}/withdraw", permission=RootOnly(), protected=True)
async def withdraw(ctx: Context, p: OneNode) -> None:
    """Take a node off the list whose own join failed. It says so itself: its corosync does not run."""
    await take_off(ctx.store, p.node, ctx.identity.name)


@method(
    "POST",
    "/kvorum/cluster/expected",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm expected", "expected"),),
)
async def expected(ctx: Context, p: Expected) -> None:
    """Tells corosync a new value of expected votes."""
    await asyncio.to_thread(expect_votes, p.expected)


async def _follow_device(ctx: Context, log: TaskLog) -> None:
    """Bring the cluster's QDevice to this new node; it is tried again by itself if that fails now."""
    try:
        followed = await ctx.service(DeviceFollower).now()
    except (KvorumError, OSError) as error:
        log.warn(f"the QDevice's part of this node is not ready yet: {error}")
        return
    if followed["active"]:
        log.line("corosync-qdevice is set up on this node")
        sentence = misfit(configured(ctx.store)[1])
        if sentence:
            log.warn(sentence)


def _own_guests(store: Store) -> dict[str, str]:
    directory = f"nodes/{store.node}/qemu-server"
    files = [store.read(f"{directory}/{name}") for name in store.names(directory) if name.endswith(".conf")]
    return {file.path.rpartition("/")[2].removesuffix(".conf"): file.text for file in files if file}


async def _taken(remote: RemoteNode, node: str, secret: str | None) -> dict[str, str]:
    """The vmids of the cluster's guests on other nodes than this one, and where each lies."""
    if secret is None:
        rows = await remote.call("GET", "/cluster/resources?type=vm")
        found = [(str(r.get("vmid")), str(r.get("node"))) for r in rows] if isinstance(rows, list) else []
    else:
        told = await remote.call("POST", INFORMATION, {"secret": secret})
        guests = told.get("guests") if isinstance(told, dict) else None
        found = list(guests.items()) if isinstance(guests, dict) else []
    return {vmid: f"nodes/{where}/qemu-server/{vmid}.conf" for vmid, where in found if where != node}


async def _ask_peer(
    remote: RemoteNode, node: str, links: dict[int, Link], address: str, p: Join, secret: str | None
) -> None:
    """Check at the peer what can be checked before anything changes; raises ``Conflict`` with all of it."""
    if secret is None:
        version = await remote.call("GET", "/cluster/config/apiversion")
        information = await remote.call("GET", "/cluster/config/join")
    else:
        information = await remote.call("POST", INFORMATION, {"secret": secret})
        version = information.get("apiversion") if isinstance(information, dict) else None
    rows = information.get("nodelist") if isinstance(information, dict) else None
    if not isinstance(rows, list):
        raise KvorumError(f"{remote.host} did not answer with its cluster's nodes")
    refusals = clock_refusals(remote.host, remote.clock_ahead_s)
    if isinstance(version, int) and version != JOIN_API_VERSION:
        refusals.append(
            f"{remote.host} speaks version {version} of the join, this node {JOIN_API_VERSION}: "
            "upgrade the older"
        )
    device = secret is None and await remote.call("GET", "/cluster/config/qdevice")
    if device and not LocalDevice(Paths.system()).installed():
        refusals.append("the cluster has a QDevice: run 'apt install corosync-qdevice' on this node first")
    given = addresses(links) or {0: address}
    for row in rows:
        if row.get("name") == node:
            if not p.force and row.get("pve_fp"):  # without it, it is what a broken join of ours left
                refusals.append(f"the cluster has a node '{node}' already: give this one another name")
            continue
        used = {str(value) for key, value in row.items() if key.startswith("ring")}
        refusals += [
            f"link {link}: address '{a}' is already used by node '{row.get('name')}'"
            for link, a in given.items()
            if a in used
        ]
    there = {int(m[1]) for row in rows for key in row if (m := _RING.fullmatch(key))}
    if there == set(given) and not refusals:
        rings = {
            str(row["name"]): {int(m[1]): str(row[key]) for key in row if (m := _RING.fullmatch(key))}
            for row in rows
            if row.get("name") != node
        }
        refusals += reach_refusals(given, rings, await silent_links(given, rings))
    if there != set(given):
        wanted = " ".join(f"--link{link} ADDRESS" for link in sorted(there))
        refusals.append(f"the cluster has link {', '.join(map(str, sorted(there)))}: give exactly {wanted}")
    if refusals:
        raise Conflict(check_failed(refusals))


def _request(links: dict[int, Link], address: str, p: Join) -> dict[str, str]:
    values = {f"link{number}": str(link) for number, link in links.items()}
    values |= {"apiversion": str(JOIN_API_VERSION), "new_node_ip": address, "force": str(int(p.force))}
    if p.nodeid is not None:
        values["nodeid"] = str(p.nodeid)
    if p.votes is not None:
        values["votes"] = str(p.votes)
    return values
