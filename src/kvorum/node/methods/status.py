"""One node: its status, version, configuration, report, and its power."""

from __future__ import annotations

import re
from typing import Literal

import psutil
from pydantic import Field

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.core.options_file import OptionsFile
from kvorum.interface import Context, LoggedIn, Privilege, TextList, Where, method
from kvorum.node import facts, node_config, record, report, wake
from kvorum.node.methods.models import AUDIT, CLUSTER_AUDIT, CLUSTER_MODIFY, NodePath, Row
from kvorum.node.services import ServiceControl
from kvorum.node.version import VERSION, Version
from kvorum.store import Write, expect_digest

_POWER = Privilege("/nodes/{node}", "Sys.PowerMgmt")
_TAP = re.compile(r"tap(?P<vmid>\d+)i(?P<card>\d+)")


class Power(NodePath):
    command: Literal["reboot", "shutdown"] = Field(description="What the node shall do.")


class ConfigQuestion(NodePath):
    property: (
        Literal[
            "acme",
            "acmedomain0",
            "acmedomain1",
            "acmedomain2",
            "acmedomain3",
            "acmedomain4",
            "acmedomain5",
            "ballooning-target",
            "description",
            "startall-onboot-delay",
            "wakeonlan",
        ]
        | None
    ) = Field(None, description="Return only a specific property from the node configuration.")


class Config(NodePath):
    acme: str | None = Field(None, description="Node specific ACME settings.")
    acmedomain0: str | None = Field(None, description="ACME domain.")
    acmedomain1: str | None = Field(None, description="ACME domain.")
    acmedomain2: str | None = Field(None, description="ACME domain.")
    acmedomain3: str | None = Field(None, description="ACME domain.")
    acmedomain4: str | None = Field(None, description="ACME domain.")
    acmedomain5: str | None = Field(None, description="ACME domain.")
    ballooning_target: int | None = Field(
        None,
        alias="ballooning-target",
        ge=0,
        le=100,
        description="RAM usage target for ballooning, per cent.",
    )
    startall_onboot_delay: int | None = Field(
        None, alias="startall-onboot-delay", ge=0, le=300, description="Seconds before guests start at boot."
    )
    wakeonlan: str | None = Field(None, description="MAC address for wake on LAN, and how to send it.")
    description: str | None = Field(None, max_length=65536, description="Notes about the node.")
    delete: TextList = Field((), description="Settings to take out.")
    digest: str | None = Field(None, max_length=40, description="Refuse if the file has another digest now.")


@method("GET", "/nodes/{node}/status", permission=AUDIT, where=Where.NODE)
async def node_status(ctx: Context, p: NodePath) -> Row:
    """Read node status."""
    published = record.decode(ctx.store.published(record.KEY).get(ctx.store.node, b""))
    return facts.status(published or facts.Sampler().record)


@method("POST", "/nodes/{node}/status", permission=_POWER, where=Where.NODE, protected=True)
async def node_power(ctx: Context, p: Power) -> None:
    """Reboot or shutdown a node."""
    target = "reboot.target" if p.command == "reboot" else "poweroff.target"
    await ctx.service(ServiceControl).power(target)


@method("GET", "/nodes/{node}/version", permission=LoggedIn(), where=Where.NODE)
async def node_version(ctx: Context, p: NodePath) -> Version:
    """API version details."""
    return VERSION


@method("GET", "/nodes/{node}/subscription", permission=LoggedIn(), where=Where.NODE)
async def subscription(ctx: Context, p: NodePath) -> Row:
    """Read subscription info."""
    return {"status": "notfound", "message": "There is no subscription key, and none is needed."}


@method("GET", "/nodes/{node}/netstat", permission=AUDIT, where=Where.NODE)
async def netstat(ctx: Context, p: NodePath) -> list[Row]:
    """Read tap/vm network device interface counters."""
    rows: list[Row] = []
    for name, counters in sorted(psutil.net_io_counters(pernic=True).items()):
        if match := _TAP.fullmatch(name):
            # What the node sends into a tap is what the guest receives.
            rows.append(
                {
                    "vmid": match["vmid"],
                    "dev": f"net{match['card']}",
                    "in": str(counters.bytes_sent),
                    "out": str(counters.bytes_recv),
                }
            )
    return rows


@method("GET", "/nodes/{node}/report", permission=AUDIT, where=Where.NODE, protected=True)
async def node_report(ctx: Context, p: NodePath) -> str:
    """Gather various systems information about a node."""
    return await report.gather(ctx.store)


@method("GET", "/nodes/{node}/config", permission=CLUSTER_AUDIT, where=Where.NODE)
async def read_config(ctx: Context, p: ConfigQuestion) -> Row:
    """Get node configuration options."""
    file = ctx.store.read(node_config.path(p.node))
    values = node_config.shown(OptionsFile.parse(file.text if file else ""))
    if p.property is not None:
        return {p.property: values[p.property]} if p.property in values else {}
    return {**values, "digest": file.digest} if file else values


@method("PUT", "/nodes/{node}/config", permission=CLUSTER_MODIFY, where=Where.NODE, protected=True)
async def set_config(ctx: Context, p: Config) -> None:
    """Set node configuration options."""
    given = p.model_dump(
        by_alias=True, exclude_none=True, exclude={"node", "delete", "digest", "description"}
    )
    if both := sorted(set(p.delete) & given.keys()):
        raise ParameterError({key: f"can't delete '{key}' and set it at the same time" for key in both})
    node_config.check(given)
    path = node_config.path(p.node)
    file = ctx.store.read(path)
    new = OptionsFile.parse(file.text if file else "")
    new = new.changed({key: str(value) for key, value in given.items()}, p.delete)
    if p.description is not None or "description" in p.delete:
        new = new.with_description(p.description or "")
    expect = [expect_digest(file, path, p.digest)] if p.digest else []
    await ctx.store.transact([Write(path, new.render().encode())], expect, who=ctx.identity.name)


@method("POST", "/nodes/{node}/wakeonlan", permission=_POWER, protected=True)
async def wakeonlan(ctx: Context, p: NodePath) -> str:
    """Try to wake a node via 'wake on LAN' network packet."""
    if p.node == ctx.store.node:
        raise ParameterError({"node": f"'{p.node}' is the node that was asked: it is awake"})
    file = ctx.store.read(node_config.path(p.node))
    text = OptionsFile.parse(file.text if file else "").values.get("wakeonlan", "")
    if not text:
        raise KvorumError(
            f"node '{p.node}' has no MAC address for wake on LAN: "
            f"set it with 'pvesh set /nodes/{p.node}/config --wakeonlan MAC' while it runs"
        )
    request = node_config.wake_request(text)
    await wake.send(request)
    return request.mac
