"""The API's methods about the cluster: create, join, its nodes and configuration, and quorum explained."""

from __future__ import annotations

import asyncio
import base64
from typing import NotRequired, TypedDict

from pydantic import Field

from kvorum.cluster.admission import (
    JOIN_API_VERSION,
    Admission,
    admit,
    check_failed,
    create_refusals,
    join_refusals,
)
from kvorum.cluster.change import CONFIGURATION, Cluster, RemotePeer, create, join
from kvorum.cluster.links import LINK_NUMBERS, Link, addresses, priorities
from kvorum.cluster.node_files import node_fingerprint
from kvorum.cluster.quorum import Voter, explain
from kvorum.cluster.remote import RemoteNode, peer_fingerprint
from kvorum.cluster.service import wait_until_followed
from kvorum.cluster.status import explain_view, look
from kvorum.core.errors import Conflict, DeadlineExceeded, KvorumError, NoQuorum, ParameterError
from kvorum.corosync import Configuration, ConfiguredNode, CorosyncError, Votequorum, new_cluster
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NodeName,
    NoParameters,
    Parameters,
    Privilege,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.store import Expect, File, MakeDirectory, Operation, Store, Write

_AUDIT = Privilege("/", "Sys.Audit")
_ATTEMPTS = 5
_LOOK_S = 2.0


class NoCluster(KvorumError):
    """The node is not in a cluster, so there is nothing to tell."""

    code = 424


class _Links(Parameters):
    link0: str | None = Field(None, description="Address and priority of link 0: ADDRESS[,priority=N].")
    link1: str | None = Field(None, description="Address and priority of link 1.")
    link2: str | None = Field(None, description="Address and priority of link 2.")
    link3: str | None = Field(None, description="Address and priority of link 3.")
    link4: str | None = Field(None, description="Address and priority of link 4.")
    link5: str | None = Field(None, description="Address and priority of link 5.")
    link6: str | None = Field(None, description="Address and priority of link 6.")
    link7: str | None = Field(None, description="Address and priority of link 7.")

    def links(self) -> dict[int, Link]:
        """The links that were given, by number; raises ``ParameterError`` naming each wrong one."""
        found: dict[int, Link] = {}
        errors: dict[str, str] = {}
        for number in LINK_NUMBERS:
            text = getattr(self, f"link{number}")
            if text is None:
                continue
            try:
                found[number] = Link.parse(text)
            except ValueError as error:
                errors[f"link{number}"] = str(error)
        if errors:
            raise ParameterError(errors)
        return found


class Create(_Links):
    clustername: NodeName = Field(max_length=15, description="The name of the cluster.")
    nodeid: int = Field(1, ge=1, description="Node id for this node.")
    votes: int = Field(1, ge=1, description="Number of votes for this node.")
    token_coefficient: int = Field(
        125, ge=0, alias="token-coefficient", description="Token coefficient in milliseconds."
    )


class Join(_Links):
    hostname: str = Field(description="Hostname (or IP) of an existing cluster member.")
    password: str = Field(
        max_length=128,
        description="Superuser (root) password of peer node.",
        json_schema_extra={"ask": "Please enter superuser (root) password for the peer: "},
    )
    fingerprint: str | None = Field(
        None,
        pattern="^([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}$",
        description="Certificate SHA 256 fingerprint.",
    )
    nodeid: int | None = Field(None, ge=1, description="Node id for this node.")
    votes: int | None = Field(None, ge=0, description="Number of votes for this node.")
    force: Boolean = Field(False, description="Do not refuse what only may be wrong; say it as a warning.")


class AddNode(_Links):
    node: NodeName
    nodeid: int | None = Field(None, ge=1, description="Node id for this node.")
    votes: int | None = Field(None, ge=0, description="Number of votes for this node.")
    force: Boolean = Field(False, description="Do not refuse if the node is listed already.")
    new_node_ip: str | None = Field(None, description="IP address of the node, link 0 if none is given.")
    apiversion: int | None = Field(None, description="The JOIN_API_VERSION of the new node.")


class JoinInfoOf(Parameters):
    node: NodeName | None = Field(None, description="The node for which the joinee gets the information.")


class OneNode(Parameters):
    node: NodeName


class Expected(Parameters):
    expected: int = Field(ge=1, description="Expected votes.")


class Child(TypedDict):
    """An entry of a directory."""

    name: str


class Added(TypedDict):
    """What a node needs to come up as a member."""

    corosync_authkey: str
    corosync_conf: str
    warnings: list[str]


class StatusRow(TypedDict):
    """The cluster, or one of its nodes."""

    type: str
    id: str
    name: str
    version: NotRequired[int]
    nodes: NotRequired[int]
    quorate: NotRequired[bool]
    nodeid: NotRequired[int]
    ip: NotRequired[str]
    online: NotRequired[bool]
    local: NotRequired[bool]
    level: NotRequired[str]


class QuorumRow(TypedDict):
    """Quorum explained."""

    quorate: bool
    total: int
    present: int
    needed: int
    may_fail: int
    fatal: list[str]
    missing: list[str]
    sentence: str


@method("GET", "/cluster/config", permission=_AUDIT)
async def index(ctx: Context, p: NoParameters) -> list[Child]:
    """Directory index."""
    return [Child(name=name) for name in ("apiversion", "join", "nodes", "totem")]


@method("GET", "/cluster/config/apiversion", permission=_AUDIT, commands=(Command("pvecm apiver"),))
async def api_version(ctx: Context, p: NoParameters) -> int:
    """Return the version of the cluster join API available on this node."""
    return JOIN_API_VERSION


@method("GET", "/cluster/config/totem", permission=_AUDIT)
async def totem(ctx: Context, p: NoParameters) -> dict[str, object] | None:
    """Get corosync totem protocol settings."""
    configuration = _configuration(ctx.store)
    return _totem(configuration) if configuration else None


@method("GET", "/cluster/config/nodes", permission=_AUDIT)
async def nodes(ctx: Context, p: NoParameters) -> list[dict[str, object]]:
    """Corosync node list."""
    configuration = _configuration(ctx.store)
    return [{"node": n.name, **_node(n)} for n in configuration.nodes] if configuration else []


@method("GET", "/cluster/config/join", permission=_AUDIT)
async def join_information(ctx: Context, p: JoinInfoOf) -> dict[str, object]:
    """Get information needed to join this cluster over the connected node."""
    configuration = _configuration(ctx.store)
    if configuration is None:
        raise NoCluster("node is not in a cluster, no join info available!")
    preferred = p.node or ctx.store.node
    if configuration.node(preferred) is None:
        raise ParameterError({"node": f"the cluster has no node '{preferred}'"})
    file = ctx.store.read(CONFIGURATION)
    rows = [
        _node(node)
        | {
            "pve_addr": node.addresses[min(node.addresses)],
            "pve_fp": node_fingerprint(ctx.store, node.name),
        }
        for node in configuration.nodes
    ]
    return {
        "nodelist": rows,
        "preferred_node": preferred,
        "totem": _totem(configuration),
        "config_digest": file.digest if file else "",
    }


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
                "fingerprint": f"the certificate of {p.hostname} has the SHA-256 fingerprint {shown}; compare it "
                f"with what {p.hostname} shows, then repeat with --fingerprint {shown}"
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
        log.line(f"successfully added node '{ctx.store.node}' to cluster.")

    return Work("clusterjoin", "", run)


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
        file, old = _present(ctx.store)
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
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue  # another node joined at the same moment: look again
        late = await wait_until_followed(ctx.store, new.config_version)
        warnings = [f"corosync on {', '.join(late)} does not run the new configuration yet"] if late else []
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
    _, old = _present(store)
    if old.node(p.node) is None:
        return
    if not store.membership.quorate:
        with Votequorum() as votes:
            votes.set_expected(old.without_node(p.node).total_votes)
        await _wait_quorate(store)
    file, old = _present(store)
    new = old.without_node(p.node).bumped()
    await store.transact(
        [Write(CONFIGURATION, new.text.encode())],
        [Expect(CONFIGURATION, file.version)],
        who=ctx.identity.name,
    )


@method("GET", "/cluster/status", permission=_AUDIT, protected=True)
async def status(ctx: Context, p: NoParameters) -> list[StatusRow]:
    """Get cluster status information."""
    membership = ctx.store.membership
    rows = []
    if membership.cluster is not None:
        rows.append(
            StatusRow(
                type="cluster",
                id="cluster",
                name=membership.cluster,
                version=membership.config_version,
                nodes=len(membership.members),
                quorate=membership.quorate,
            )
        )
    for member in membership.members:
        rows.append(
            StatusRow(
                type="node",
                id=f"node/{member.name}",
                name=member.name,
                nodeid=member.nodeid if membership.cluster is not None else 0,
                ip=member.address,
                online=member.online,
                local=member.name == ctx.store.node,
                level="",
            )
        )
    return rows


@method("GET", "/kvorum/quorum", permission=_AUDIT, protected=True)
async def quorum(ctx: Context, p: NoParameters) -> QuorumRow:
    """Quorum explained: how many votes are needed, who is missing, and what may still fail."""
    membership = ctx.store.membership
    voters = [Voter(member.name, member.votes, member.online) for member in membership.members]
    explanation = explain(voters, quorate=membership.quorate)
    if membership.cluster is not None:
        try:
            async with asyncio.timeout(_LOOK_S):
                explanation = explain_view(await asyncio.to_thread(look))
        except (CorosyncError, TimeoutError):
            pass  # corosync does not answer: what the store knows has to do
    return QuorumRow(
        quorate=explanation.quorate,
        total=explanation.total,
        present=explanation.present,
        needed=explanation.needed,
        may_fail=explanation.may_fail,
        fatal=list(explanation.fatal),
        missing=list(explanation.missing),
        sentence=explanation.sentence,
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
    with Votequorum() as votes:
        votes.set_expected(p.expected)


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
            f"{remote.host} speaks version {version} of the join, this node {JOIN_API_VERSION}: upgrade the older"
        )
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
    there = {
        int(key[4:-5]) for row in rows for key in row if key.startswith("ring") and key.endswith("_addr")
    }
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


def _configuration(store: Store) -> Configuration | None:
    file = store.read(CONFIGURATION)
    return Configuration.read(file.text) if file is not None else None


def _present(store: Store) -> tuple[File, Configuration]:
    file = store.read(CONFIGURATION)
    if file is None:
        raise NoCluster("this node is not in a cluster: create one first (pvecm create)")
    return file, Configuration.read(file.text)


def _node(node: ConfiguredNode) -> dict[str, object]:
    rings = {f"ring{link}_addr": address for link, address in sorted(node.addresses.items())}
    return {"name": node.name, "nodeid": node.nodeid, "quorum_votes": node.votes, **rings}


def _totem(configuration: Configuration) -> dict[str, object]:
    section = configuration.totem
    interfaces = {i.get("linknumber") or "0": i.values() for i in section.sections("interface")}
    return {**section.values(), "interface": interfaces}


async def _wait_quorate(store: Store) -> None:
    try:
        async with asyncio.timeout(10):
            async for membership in store.watch_membership():
                if membership.quorate:
                    return
    except TimeoutError:
        pass
    raise DeadlineExceeded(f"no quorum within 10 s: {store.membership.reason}")
