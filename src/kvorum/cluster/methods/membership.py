"""What changes the cluster: create, join, take a node in, let it go, and expected votes."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace

from kvorum.cluster.admission import (
    JOIN_API_VERSION,
    Admission,
    admit,
    check_failed,
    create_refusals,
    join_refusals,
)
from kvorum.cluster.change import CONFIGURATION, Cluster, RemotePeer, create, join
from kvorum.cluster.links import Link, addresses, priorities
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
from kvorum.cluster.qdevice.device import misfit
from kvorum.cluster.qdevice.follower import DeviceFollower
from kvorum.cluster.qdevice.local import LocalDevice
from kvorum.cluster.remote import RemoteNode, peer_fingerprint
from kvorum.cluster.service import wait_until_followed
from kvorum.core.errors import (
    Conflict,
    DeadlineExceeded,
    KvorumError,
    NoQuorum,
    OutcomeUnknown,
    ParameterError,
)
from kvorum.core.paths import Paths
from kvorum.corosync import ConfiguredNode, Votequorum, new_cluster
from kvorum.interface import (
    Command,
    Context,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.store import Expect, MakeDirectory, Operation, Store, Write

_ATTEMPTS = 5
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
    links = p.links()
    refusals = join_refusals(await cluster.host.facts(), links)
    if refusals and not p.force:
        raise Conflict(check_failed(refusals))
    if p.fingerprint is None:
        shown = await peer_fingerprint(p.hostname)
        raise ParameterError(
            {
                "fingerprint": f"the certificate of {p.hostname} has the SHA-256 fingerprint {shown}; "
                f"compare it with what {p.hostname} shows, then repeat with --fingerprint {shown}"
            }
        )
    address = await cluster.host.own_address() if 0 not in links else links[0].address
    warnings = [f"warning: {text}" for text in refusals]
    pinned = p.fingerprint
    async with RemoteNode(p.hostname, p.password, pinned) as remote:
        await _ask_peer(remote, ctx.store.node, links, address, p)

    async def run(log: TaskLog) -> None:
        for warning in warnings:
            log.warn(warning)
        log.line(f"Establishing API connection with host '{p.hostname}'")
        async with RemoteNode(p.hostname, p.password, pinned) as remote:
            log.line("Login succeeded.")
            peer = RemotePeer(remote, ctx.store.node, _request(links, address, p))
            await join(cluster, peer, log.line)
        await _follow_device(ctx, log)
        log.line(f"successfully added node '{ctx.store.node}' to cluster.")

    return Work("clusterjoin", "", run)


@method("GET", "/kvorum/cluster/fingerprint", permission=RootOnly(), protected=True)
async def fingerprint(ctx: Context, p: Peer) -> str:
    """The SHA-256 fingerprint of the certificate that a host shows, for an admin to compare before a join."""
    return await peer_fingerprint(p.hostname)


@method("POST", "/cluster/config/nodes/{node}", permission=RootOnly(), protected=True)
async def add_node(ctx: Context, p: AddNode) -> Added:
    """Adds a node to the cluster configuration. This call is for internal use."""
    cluster = ctx.service(Cluster)
    request = Admission(
        p.node, p.links(), p.nodeid, p.votes, p.force, p.new_node_ip or ctx.identity.address, p.apiversion
    )
    if not ctx.store.membership.quorate:
        raise NoQuorum(f"no quorum, so no node can be added: {ctx.store.membership.reason}")
    for attempt in range(_ATTEMPTS):
        file, old = configured(ctx.store)
        new, refusals = admit(old, request)
        if new is None:
            raise Conflict("\n".join(refusals))
        if new is not old:
            operations: list[Operation] = [Write(CONFIGURATION, new.text.encode())]
            if p.node not in ctx.store.names("nodes"):
                operations.append(MakeDirectory(f"nodes/{p.node}/qemu-server"))
            try:
                await ctx.store.transact(
                    operations, [Expect(CONFIGURATION, file.version)], who=ctx.identity.name
                )
            except (Conflict, OutcomeUnknown) as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                if isinstance(error, OutcomeUnknown):
                    # It may have changed the quorum that its answer waited for. If it is there, it is ours.
                    request = replace(request, force=True)
                continue  # or another node joined at the same moment: look again
        late = await wait_until_followed(ctx.store, new.config_version)
        warnings = [f"corosync on {', '.join(late)} does not run the new configuration yet"] if late else []
        warnings += [sentence] if (sentence := misfit(new)) else []
        key = await asyncio.to_thread(cluster.host.authkey.read_bytes)
        return Added(
            corosync_authkey=base64.b64encode(key).decode(), corosync_conf=new.text, warnings=warnings
        )
    raise Conflict("corosync.conf changed at every attempt; try again")


@method("POST", "/kvorum/cluster/nodes/{node}/withdraw", permission=RootOnly(), protected=True)
async def withdraw(ctx: Context, p: OneNode) -> None:
    """Take a node off the list whose own join failed. It says so itself: its corosync does not run.

    A cluster that waits for the node's votes gets its quorum back first, by expecting what it had before.
    """
    store = ctx.store
    if any(member.name == p.node and member.online for member in store.membership.members):
        raise Conflict(f"node '{p.node}' is here: it can't be withdrawn, only removed")
    _, old = configured(store)
    if old.node(p.node) is None:
        return
    if not store.membership.quorate:
        await asyncio.to_thread(_expect, old.without_node(p.node).total_votes)
        await _wait_quorate(store)
    file, old = configured(store)
    new = old.without_node(p.node).bumped()
    await store.transact(
        [Write(CONFIGURATION, new.text.encode())],
        [Expect(CONFIGURATION, file.version)],
        who=ctx.identity.name,
    )


@method(
    "POST",
    "/kvorum/cluster/expected",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm expected", "expected"),),
)
async def expected(ctx: Context, p: Expected) -> None:
    """Tells corosync a new value of expected votes."""
    await asyncio.to_thread(_expect, p.expected)


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


async def _ask_peer(remote: RemoteNode, node: str, links: dict[int, Link], address: str, p: Join) -> None:
    """Check at the peer what can be checked before anything changes; raises ``Conflict`` with all of it."""
    version = await remote.call("GET", "/cluster/config/apiversion")
    information = await remote.call("GET", "/cluster/config/join")
    rows = information.get("nodelist") if isinstance(information, dict) else None
    if not isinstance(rows, list):
        raise KvorumError(f"{remote.host} did not answer with its cluster's nodes")
    refusals = []
    if isinstance(version, int) and version != JOIN_API_VERSION:
        refusals.append(
            f"{remote.host} speaks version {version} of the join, this node {JOIN_API_VERSION}: "
            "upgrade the older"
        )
    if await remote.call("GET", "/cluster/config/qdevice") and not LocalDevice(Paths.system()).installed():
        refusals.append("the cluster has a QDevice: run 'apt install corosync-qdevice' on this node first")
    given = addresses(links) or {0: address}
    for row in rows:
        if row.get("name") == node:
            if not p.force:
                refusals.append(f"the cluster has a node '{node}' already: give this one another name")
            continue
        used = {str(value) for key, value in row.items() if key.startswith("ring")}
        refusals += [
            f"link {link}: address '{a}' is already used by node '{row.get('name')}'"
            for link, a in given.items()
            if a in used
        ]
    there = {int(m[1]) for row in rows for key in row if (m := _RING.fullmatch(key))}
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


async def _wait_quorate(store: Store) -> None:
    try:
        async with asyncio.timeout(10):
            async for membership in store.watch_membership():
                if membership.quorate:
                    return
    except TimeoutError:
        pass
    raise DeadlineExceeded(f"no quorum within 10 s: {store.membership.reason}")


def _expect(count: int) -> None:
    """Have corosync expect so many votes; not on the event loop, which a frozen corosync would hold."""
    with Votequorum() as votes:
        votes.set_expected(count)
