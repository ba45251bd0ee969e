"""A node's network: the interfaces as configured and as they are, and changes that wait to be applied.

Changes go to /etc/network/interfaces.new; the running network follows only when they are applied.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kvorum.core.errors import Conflict, DeadlineExceeded, KvorumError, ParameterError
from kvorum.interface import (
    Boolean,
    Context,
    Identity,
    LoggedIn,
    Page,
    TaskLog,
    TextList,
    Where,
    Work,
    method,
)
from kvorum.node import network, network_config, network_trial
from kvorum.node.host_files import HostFiles
from kvorum.node.interfaces import Interfaces, InterfacesError
from kvorum.node.methods.models import AUDIT, MODIFY, NodePath, Row
from kvorum.node.network_apply import CURRENT, PENDING, NetworkChange
from kvorum.node.network_rules import check, check_unused
from kvorum.node.network_sources import Sourced, refuse_sourced, sourced

Type = Literal[
    "bridge", "bond", "eth", "alias", "vlan", "fabric", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort",
    "vnet", "unknown",
]  # fmt: skip
BondMode = Literal[
    "balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb",
    "balance-slb", "lacp-balance-slb", "lacp-balance-tcp",
]  # fmt: skip


def _printable(text: str) -> str:
    if any(not c.isprintable() for c in text):
        raise ValueError("holds a control character or a line break")
    return text


def _interface(text: str) -> str:
    """An interface's name as the kernel takes it, with an alias' number or a VLAN's tag."""
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789_.:-"
    if not text[:1].isalpha() or any(c not in allowed for c in text.lower()):
        raise ValueError(
            f"'{text}' is no interface's name: begin with a letter, then letters, digits, _ . : -"
        )
    return text


Line = Annotated[str, AfterValidator(_printable)]
Iface = Annotated[str, Field(min_length=2, max_length=20), AfterValidator(_interface)]


class NetworkFilter(NodePath):
    type: (
        Literal[
            "bridge",
            "bond",
            "eth",
            "alias",
            "vlan",
            "fabric",
            "OVSBridge",
            "OVSBond",
            "OVSPort",
            "OVSIntPort",
            "vnet",
            "any_bridge",
            "any_local_bridge",
            "include_sdn",
        ]
        | None
    ) = Field(None, description="Only interfaces of this type.")


class InterfacePath(NodePath):
    iface: Iface = Field(description="The interface's name.")


class Interface(InterfacePath):
    type: Type = Field(description="Network interface type.")
    address: Line | None = Field(None, description="IPv4 address.")
    address6: Line | None = Field(None, description="IPv6 address.")
    autostart: Boolean | None = Field(None, description="Automatically start interface on boot.")
    bond_primary: Iface | None = Field(None, alias="bond-primary", description="The primary interface.")
    bond_mode: BondMode | None = Field(None, description="Bonding mode.")
    bond_xmit_hash_policy: Literal["layer2", "layer2+3", "layer3+4"] | None = Field(
        None, description="Selects the transmit hash policy."
    )
    bridge_ports: TextList | None = Field(None, description="The interfaces to add to the bridge.")
    bridge_vids: Line | None = Field(None, description="The allowed VLANs, such as '2 4 100-200'.")
    bridge_vlan_aware: Boolean | None = Field(None, description="Enable bridge VLAN support.")
    cidr: Line | None = Field(None, description="IPv4 CIDR.")
    cidr6: Line | None = Field(None, description="IPv6 CIDR.")
    comments: str | None = Field(None, max_length=8192, description="Comments.")
    comments6: str | None = Field(None, max_length=8192, description="Comments.")
    gateway: Line | None = Field(None, description="Default gateway address.")
    gateway6: Line | None = Field(None, description="Default IPv6 gateway address.")
    mtu: int | None = Field(None, ge=1280, le=65520, description="MTU.")
    netmask: Line | None = Field(None, description="Network mask.")
    netmask6: int | None = Field(None, ge=0, le=128, description="Network mask.")
    ovs_bonds: TextList | None = Field(None, description="The interfaces to bond.")
    ovs_bridge: Iface | None = Field(None, description="The OVS bridge of an OVS port.")
    ovs_options: Line | None = Field(None, max_length=1024, description="OVS interface options.")
    ovs_ports: TextList | None = Field(None, description="The interfaces to add to the bridge.")
    ovs_tag: int | None = Field(None, ge=1, le=4094, description="The VLAN tag of an OVS port.")
    slaves: TextList | None = Field(None, description="The interfaces of a bond.")
    vlan_id: int | None = Field(None, alias="vlan-id", ge=1, le=4094, description="The VLAN's tag.")
    vlan_raw_device: Iface | None = Field(None, alias="vlan-raw-device", description="The VLAN's device.")

    def given(self) -> dict[str, object]:
        """The settings that were sent, in the API's words; an empty text is none."""
        values = self.model_dump(by_alias=True, exclude_none=True, exclude={"node", "iface", "delete"})
        for name in ("bridge_ports", "slaves", "ovs_bonds", "ovs_ports"):
            for port in values.get(name, ()):
                try:
                    _interface(port)
                except ValueError as error:
                    raise ParameterError({name: str(error)}) from None
        if values.get("bridge_ports") == ():
            values["bridge_ports"] = ("none",)
        return {key: value for key, value in values.items() if value != ""}


class ChangedInterface(Interface):
    delete: TextList = Field((), description="Settings to take out.")


class Apply(NodePath):
    revert_after: int = Field(
        network_trial.CONFIRM_S,
        alias="revert-after",
        ge=10,
        le=600,
        description="After so many seconds the old configuration returns if the node is not reachable.",
    )
    regenerate_frr: Boolean = Field(
        False, alias="regenerate-frr", description="There is no FRR configuration here; ignored."
    )


@method("GET", "/nodes/{node}/network", permission=LoggedIn(), where=Where.NODE, protected=True)
async def index(ctx: Context, p: NetworkFilter) -> Page[Row]:
    """List available networks. What waits to be applied is shown as it will be, the difference beside it."""
    files = ctx.service(HostFiles)
    rows = [row for row in await _rows(files) if network.wanted(row, p.type)]
    current, pending = await asyncio.to_thread(_texts, files)
    beside = {} if pending is None else {"changes": network_config.difference(current, pending)}
    return Page(rows, len(rows), beside)


@method("GET", "/nodes/{node}/network/{iface}", permission=AUDIT, where=Where.NODE, protected=True)
async def read(ctx: Context, p: InterfacePath) -> Row:
    """Read network device configuration."""
    for row in await _rows(ctx.service(HostFiles)):
        if row["iface"] == p.iface:
            return row
    raise ParameterError({"iface": f"node '{p.node}' has no interface '{p.iface}'"})


@method("POST", "/nodes/{node}/network", permission=MODIFY, where=Where.NODE, protected=True)
async def create(ctx: Context, p: Interface) -> None:
    """Create network device configuration."""
    files = ctx.service(HostFiles)
    current, pending = await asyncio.to_thread(_texts, files)
    old = Interfaces.parse(current if pending is None else pending)
    included = await asyncio.to_thread(sourced, files, old)
    if p.iface in old.names():
        raise ParameterError({"iface": f"interface '{p.iface}' is configured already"})
    new = network_config.change(old, p.iface, p.given())
    await _check(new, included, p)
    await asyncio.to_thread(files.write, PENDING, new.render())


@method("PUT", "/nodes/{node}/network/{iface}", permission=MODIFY, where=Where.NODE, protected=True)
async def update(ctx: Context, p: ChangedInterface) -> None:
    """Update network device configuration."""
    files = ctx.service(HostFiles)
    current, pending = await asyncio.to_thread(_texts, files)
    old = Interfaces.parse(current if pending is None else pending)
    included = await asyncio.to_thread(sourced, files, old)
    refuse_sourced(included, p.iface)
    if p.iface not in old.names() and not any(row["iface"] == p.iface for row in await _kernel()):
        raise ParameterError({"iface": f"node '{p.node}' has no interface '{p.iface}'"})
    new = network_config.change(old, p.iface, p.given(), p.delete)
    await _check(new, included, p)
    await asyncio.to_thread(files.write, PENDING, new.render())


@method("DELETE", "/nodes/{node}/network/{iface}", permission=MODIFY, where=Where.NODE, protected=True)
async def delete(ctx: Context, p: InterfacePath) -> None:
    """Delete network device configuration."""
    files = ctx.service(HostFiles)
    current, pending = await asyncio.to_thread(_texts, files)
    old = Interfaces.parse(current if pending is None else pending)
    refuse_sourced(await asyncio.to_thread(sourced, files, old), p.iface)
    check_unused(old, p.iface)
    try:
        new = old.without(p.iface)
    except InterfacesError as error:
        raise ParameterError({"iface": str(error)}) from None
    await asyncio.to_thread(files.write, PENDING, new.render())


@method("DELETE", "/nodes/{node}/network", permission=MODIFY, where=Where.NODE, protected=True)
async def revert(ctx: Context, p: NodePath) -> None:
    """Revert network configuration changes."""
    await asyncio.to_thread(ctx.service(HostFiles).remove, PENDING)


@method("PUT", "/nodes/{node}/network", permission=MODIFY, where=Where.NODE, protected=True, task=True)
async def reload(ctx: Context, p: Apply) -> Work:
    """Reload network configuration: the pending file takes the current one's place, then ifreload runs.

    The old one returns by itself unless what answered before answers again in time: other nodes, the default
    gateway, and (called over the network) the caller, who is heard from when the task's state or log
    is asked for, or by `confirm`.
    """
    files, change = ctx.service(HostFiles), ctx.service(NetworkChange)
    remote = _remote(ctx.identity)
    current, pending = await asyncio.to_thread(_texts, files)

    async def run(log: TaskLog) -> None:
        before, wanted = await asyncio.to_thread(_texts, files)
        if (before, wanted) != (current, pending):
            raise Conflict("the network's configuration was changed meanwhile; look again and repeat")
        if wanted is None:
            log.line("nothing is pending")
        await change.apply(wanted, log, remote=remote, confirm_s=p.revert_after)

    def asked(identity: Identity) -> None:
        if _remote(identity):
            change.hear()

    return Work("srvreload", "networking", run, asked)


@method(
    "POST",
    "/kvorum/nodes/{node}/network/confirm",
    permission=MODIFY,
    where=Where.NODE,
    protected=True,
)
async def confirm(ctx: Context, p: NodePath) -> None:
    """Confirm that the node is reachable with the network configuration that is being applied."""
    if not ctx.service(NetworkChange).hear():
        raise Conflict("no network configuration waits to be confirmed")


def _remote(identity: Identity) -> bool:
    """Whether a call came over the network: commands on the node itself come over pvedaemon's socket."""
    return identity.address not in ("", "local")


def _texts(files: HostFiles) -> tuple[str, str | None]:
    """The current file and the pending one, ``None`` where nothing is pending."""
    pending = files.read(PENDING)
    return files.read(CURRENT), pending or None


async def _rows(files: HostFiles) -> list[Row]:
    current, pending = await asyncio.to_thread(_texts, files)
    file = Interfaces.parse(current if pending is None else pending)
    configured: dict[str, Row] = {}
    for each in await asyncio.to_thread(sourced, files, file):
        configured |= network_config.configured_rows(each.file)
    return network_config.merged(configured | network_config.configured_rows(file), await _kernel())


async def _check(new: Interfaces, included: list[Sourced], p: Interface) -> None:
    """Refuse what can't work with what is configured, included and present."""
    refuse_sourced(included, p.iface)
    present = {str(row["iface"]) for row in await _kernel()}
    present.update(name for each in included for name in each.file.names())
    check(new, p.iface, p.type, present)


async def _kernel() -> list[Row]:
    """The node's interfaces as they are; raises ``KvorumError`` when the kernel does not tell them."""
    try:
        async with asyncio.timeout(network.DEADLINE_S):
            return network.rows(await asyncio.to_thread(network.read))
    except TimeoutError:
        raise DeadlineExceeded(
            f"the kernel did not list the interfaces within {network.DEADLINE_S:g} s"
        ) from None
    except OSError as error:
        raise KvorumError(f"the interfaces can't be listed: {error.strerror}") from error
