"""What the API tells about the cluster: its configuration, nodes, status, and quorum explained."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from kvorum.cluster.admission import (
    JOIN_API_VERSION,
)
from kvorum.cluster.change import CONFIGURATION
from kvorum.cluster.methods.models import (
    CautionRow,
    Child,
    ChoiceRow,
    JoinInfoOf,
    NoCluster,
    QuorumRow,
    StatusRow,
    configuration_of,
)
from kvorum.cluster.node_files import node_fingerprint
from kvorum.cluster.qdevice.guests import guest_at
from kvorum.cluster.quorum import Caution, Explanation, Sets, Shape, StoreWord, Voter, explain
from kvorum.cluster.status import look, refused_edits
from kvorum.cluster.watch import report
from kvorum.core.errors import ParameterError
from kvorum.corosync import Configuration, ConfiguredNode, CorosyncError
from kvorum.interface import (
    Command,
    Context,
    NoParameters,
    Privilege,
    method,
)
from kvorum.store import Store
from kvorum.store.corosync_conf import REFUSED

_AUDIT = Privilege("/", "Sys.Audit")
_LOOK_S = 2.0


@method("GET", "/cluster/config", permission=_AUDIT)
async def index(ctx: Context, p: NoParameters) -> list[Child]:
    """Directory index."""
    return [Child(name=name) for name in ("apiversion", "join", "nodes", "qdevice", "totem")]


@method("GET", "/cluster/config/apiversion", permission=_AUDIT, commands=(Command("pvecm apiver"),))
async def api_version(ctx: Context, p: NoParameters) -> int:
    """Return the version of the cluster join API available on this node."""
    return JOIN_API_VERSION


@method("GET", "/cluster/config/totem", permission=_AUDIT)
async def totem(ctx: Context, p: NoParameters) -> dict[str, object] | None:
    """Get corosync totem protocol settings."""
    configuration = configuration_of(ctx.store)
    return _totem(configuration) if configuration else None


@method("GET", "/cluster/config/nodes", permission=_AUDIT)
async def nodes(ctx: Context, p: NoParameters) -> list[dict[str, object]]:
    """Corosync node list."""
    configuration = configuration_of(ctx.store)
    return [{"node": n.name, **_node(n)} for n in configuration.nodes] if configuration else []


@method("GET", "/cluster/config/join", permission=_AUDIT)
async def join_information(ctx: Context, p: JoinInfoOf) -> dict[str, object]:
    """Get information needed to join this cluster over the connected node."""
    configuration = configuration_of(ctx.store)
    if configuration is None:
        raise NoCluster("node is not in a cluster, no join info available!")
    preferred = p.node or ctx.store.node
    if configuration.node(preferred) is None:
        raise ParameterError({"node": f"the cluster has no node '{preferred}'"})
    file = ctx.store.read(CONFIGURATION)
    return {
        "nodelist": join_rows(ctx.store, configuration),
        "preferred_node": preferred,
        "totem": _totem(configuration),
        "config_digest": file.digest if file else "",
    }


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
    """Quorum explained: how many votes are needed, who is missing, what may still fail, what fools people."""
    membership = ctx.store.membership
    voters = tuple(Voter(member.name, member.votes, member.online) for member in membership.members)
    shape, quorate = Shape(voters), membership.quorate
    if membership.cluster is not None:
        try:
            async with asyncio.timeout(_LOOK_S):
                view = await asyncio.to_thread(look)
                shape, quorate = view.shape, view.local.quorate
        except (CorosyncError, TimeoutError):
            pass  # corosync does not answer: what the store knows has to do
    word = StoreWord(membership.quorate, membership.reason)
    if shape.device is not None:
        guest = await guest_at(ctx.store, shape.device.host)
        shape = replace(shape, device=replace(shape.device, guest_on=guest.node if guest else ""))
    explanation = explain(replace(shape, ha=_has_ha(ctx.store)), quorate=quorate, store=word)
    row, refused = quorum_row(explanation), _refused(ctx.store)
    row["sentences"] += [*refused_edits(refused), *_warned(ctx.store)]
    row["refused"] = refused
    if membership.reason:
        row["reason"] = membership.reason
    return row


def quorum_row(explanation: Explanation) -> QuorumRow:
    """The explanation as it is answered."""
    return QuorumRow(
        quorate=explanation.quorate,
        writable=explanation.writable,
        total=explanation.total,
        present=explanation.present,
        needed=explanation.needed,
        may_fail=explanation.may_fail,
        fatal=list(explanation.fatal),
        missing=list(explanation.missing),
        losses=_sets(explanation.losses),
        returns=_sets(explanation.returns),
        cautions=[_caution(caution) for caution in explanation.cautions],
        sentence=explanation.sentence,
        sentences=list(explanation.sentences),
    )


def _caution(caution: Caution) -> CautionRow:
    row = CautionRow(kind=caution.kind, sentence=caution.sentence)
    return {**row, "node": caution.node} if caution.node else row


def _sets(sets: Sets) -> list[list[ChoiceRow]]:
    return [[ChoiceRow(count=choice.count, of=list(choice.names)) for choice in one] for one in sets]


def _refused(store: Store) -> dict[str, str]:
    return {node: why.decode() for node, why in store.published(REFUSED).items() if why}


def _warned(store: Store) -> list[str]:
    """What is wrong with links and clocks."""
    return [one.sentence for one in report.warnings(report.decode(store.published(report.KEY)))]


def _has_ha(store: Store) -> bool:
    file = store.read("ha/resources.cfg")
    return file is not None and bool(file.text.strip())


def join_rows(store: Store, configuration: Configuration) -> list[dict[str, object]]:
    """The nodes as one that wants to join sees them."""
    return [
        _node(node)
        | {"pve_addr": node.addresses[min(node.addresses)], "pve_fp": node_fingerprint(store, node.name)}
        for node in configuration.nodes
    ]


def _node(node: ConfiguredNode) -> dict[str, object]:
    rings = {f"ring{link}_addr": address for link, address in sorted(node.addresses.items())}
    return {"name": node.name, "nodeid": node.nodeid, "quorum_votes": node.votes, **rings}


def _totem(configuration: Configuration) -> dict[str, object]:
    section = configuration.totem
    interfaces = {i.get("linknumber") or "0": i.values() for i in section.sections("interface")}
    return {**section.values(), "interface": interfaces}
