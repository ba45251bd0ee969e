"""What this product does not have (containers, Ceph, SDN, a firewall, …), told as empty: known clients ask on
every run and must not stop at an error.

Each row of ``_EMPTY`` declares one method: its path, who may ask, and the empty answer of the known shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import Field

from kvorum.interface import (
    AnyOf,
    Boolean,
    Context,
    LoggedIn,
    NodeName,
    NoParameters,
    Parameters,
    Privilege,
    Requirement,
    Vmid,
    Where,
    method,
)
from kvorum.node.methods.models import AUDIT, CLUSTER_AUDIT, CLUSTER_MODIFY, NodePath, Row


class GuestPath(Parameters):
    node: NodeName
    vmid: Vmid


class VnetList(Parameters):
    pending: Boolean | None = None
    running: Boolean | None = None


class SdnList(VnetList):
    type: str | None = None


class OfType(Parameters):
    type: str | None = None


class OfGuestAndType(GuestPath):
    type: str | None = None


class CephScope(Parameters):
    scope: Literal["all", "versions"] = "all"


class OnNode(Parameters):
    check_node: NodeName | None = Field(None, alias="check-node")


class LogPart(NodePath):
    start: int | None = None
    limit: int | None = None
    since: int | None = None
    until: int | None = None


class GuestLogPart(GuestPath):
    start: int | None = None
    limit: int | None = None
    since: int | None = None
    until: int | None = None


_ANY = LoggedIn()
_CEPH = Privilege("/", "Sys.Audit", "Datastore.Audit", any_of=True)
_GUEST = Privilege("/vms/{vmid}", "VM.Audit")
_NOTIFY = AnyOf(
    tuple(
        Privilege("/mapping/notifications", name)
        for name in ("Mapping.Modify", "Mapping.Audit", "Mapping.Use")
    )
)
_SDN = Privilege("/sdn", "SDN.Audit")
_OFF: Row = {"enable": 0}
_NO_DAEMONS: Row = {"mds": {}, "mgr": {}, "mon": {}, "node": {}, "osd": []}

_EMPTY: tuple[tuple[str, type[Parameters], Requirement, list[Row] | Row, str], ...] = (
    ("/nodes/{node}/lxc", NodePath, _ANY, [], "LXC container index (per node)."),
    ("/cluster/ceph/status", NoParameters, _CEPH, {}, "Get ceph status."),
    ("/nodes/{node}/ceph/status", NodePath, _CEPH, {}, "Get ceph status."),
    ("/cluster/ceph/metadata", CephScope, _CEPH, _NO_DAEMONS, "Get ceph metadata."),
    ("/cluster/ceph/flags", NoParameters, CLUSTER_AUDIT, [], "Get the status of all ceph flags."),
    ("/nodes/{node}/ceph/fs", NodePath, _CEPH, [], "Directory index of CephFS."),
    ("/nodes/{node}/ceph/mds", NodePath, _CEPH, [], "MDS directory index."),
    ("/nodes/{node}/ceph/mgr", NodePath, _CEPH, [], "MGR directory index."),
    ("/nodes/{node}/ceph/mon", NodePath, _CEPH, [], "Get Ceph monitor list."),
    ("/nodes/{node}/ceph/osd", NodePath, _CEPH, {}, "Get Ceph osd list/tree."),
    ("/nodes/{node}/ceph/pool", NodePath, _CEPH, [], "List all pools and their settings."),
    ("/nodes/{node}/ceph/rules", NodePath, _CEPH, [], "List ceph rules."),
    ("/cluster/sdn/vnets", VnetList, _ANY, [], "SDN vnets index."),
    ("/cluster/sdn/zones", SdnList, _ANY, [], "SDN zones index."),
    ("/cluster/sdn/controllers", SdnList, _ANY, [], "SDN controllers index."),
    ("/cluster/sdn/ipams", OfType, _ANY, [], "SDN ipams index."),
    ("/cluster/sdn/dns", OfType, _ANY, [], "SDN dns index."),
    ("/nodes/{node}/sdn/zones", NodePath, _ANY, [], "Get status for all zones."),
    ("/cluster/firewall/groups", NoParameters, _ANY, [], "List security groups."),
    ("/cluster/firewall/rules", NoParameters, CLUSTER_AUDIT, [], "List rules."),
    ("/cluster/firewall/ipset", NoParameters, CLUSTER_AUDIT, [], "List IPSets."),
    ("/cluster/firewall/aliases", NoParameters, CLUSTER_AUDIT, [], "List aliases."),
    ("/cluster/firewall/macros", NoParameters, _ANY, [], "List available macros."),
    ("/cluster/firewall/refs", OfType, CLUSTER_AUDIT, [], "Lists possible IPSet/Alias references."),
    ("/cluster/firewall/options", NoParameters, CLUSTER_AUDIT, _OFF, "Get Firewall options."),
    ("/nodes/{node}/firewall/rules", NodePath, AUDIT, [], "List rules."),
    ("/nodes/{node}/firewall/options", NodePath, AUDIT, _OFF, "Get host firewall options."),
    (
        "/nodes/{node}/firewall/log",
        LogPart,
        Privilege("/nodes/{node}", "Sys.Syslog"),
        [],
        "Read firewall log.",
    ),
    ("/nodes/{node}/qemu/{vmid}/firewall/rules", GuestPath, _GUEST, [], "List rules."),
    ("/nodes/{node}/qemu/{vmid}/firewall/ipset", GuestPath, _GUEST, [], "List IPSets."),
    ("/nodes/{node}/qemu/{vmid}/firewall/aliases", GuestPath, _GUEST, [], "List aliases."),
    ("/nodes/{node}/qemu/{vmid}/firewall/refs", OfGuestAndType, _GUEST, [], "Lists possible references."),
    ("/nodes/{node}/qemu/{vmid}/firewall/options", GuestPath, _GUEST, _OFF, "Get VM firewall options."),
    (
        "/nodes/{node}/qemu/{vmid}/firewall/log",
        GuestLogPart,
        Privilege("/vms/{vmid}", "VM.Console"),
        [],
        "Read firewall log.",
    ),
    ("/cluster/mapping/dir", OnNode, _ANY, [], "List directory mapping."),
    ("/cluster/mapping/pci", OnNode, _ANY, [], "List PCI Hardware Mapping."),
    ("/cluster/mapping/usb", OnNode, _ANY, [], "List USB Hardware Mappings."),
    ("/cluster/metrics/server", NoParameters, CLUSTER_AUDIT, [], "List configured metric servers."),
    ("/cluster/notifications/targets", NoParameters, _NOTIFY, [], "Returns a list of all targets."),
    ("/cluster/notifications/matchers", NoParameters, _NOTIFY, [], "Returns a list of all matchers."),
    ("/cluster/acme/plugins", OfType, CLUSTER_MODIFY, [], "ACME plugin index."),
    ("/cluster/acme/account", NoParameters, _ANY, [], "ACMEAccount index."),
    ("/cluster/jobs/realm-sync", NoParameters, CLUSTER_AUDIT, [], "List configured realm-sync-jobs."),
)


def _declare(
    path: str, parameters: type[Parameters], permission: Requirement, answer: list[Row] | Row, summary: str
) -> None:
    async def empty(ctx: Context, p: Parameters) -> list[Row] | Row:
        return answer

    empty.__doc__ = summary
    empty.__annotations__ |= {"p": parameters, "return": type(answer)}
    where = Where.NODE if "{node}" in path else Where.ANY
    handler: Callable[[Context, Any], Awaitable[Any]] = empty
    method("GET", path, permission=permission, where=where)(handler)


for _row in _EMPTY:
    _declare(*_row)


@method("GET", "/cluster/sdn", permission=_SDN)
async def sdn_index(ctx: Context, p: NoParameters) -> list[Row]:
    """Directory index."""
    return [{"id": name} for name in ("vnets", "zones", "controllers", "ipams", "dns")]
