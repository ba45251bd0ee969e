"""A node's services as systemd has them: listed, started, stopped, restarted, reloaded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.interface import Context, TaskLog, Where, Work, method
from kvorum.node import services
from kvorum.node.methods.models import AUDIT, MODIFY, NodePath, Row
from kvorum.node.services import ServiceControl

Name = Literal[
    "chrony", "corosync", "cron", "ksmtuned", "lxcfs", "postfix", "proxmox-firewall", "pve-cluster",
    "pve-firewall", "pve-ha-crm", "pve-ha-lrm", "pve-lxc-syscalld", "pvedaemon", "pvefw-logger", "pveproxy",
    "pvescheduler", "pvestatd", "qmeventd", "spiceproxy", "sshd", "syslog", "systemd-journald",
    "systemd-timesyncd",
]  # fmt: skip


class ServicePath(NodePath):
    service: Name = Field(description="Service ID.")


@method("GET", "/nodes/{node}/services", permission=AUDIT, where=Where.NODE, protected=True)
async def index(ctx: Context, p: NodePath) -> list[Row]:
    """Service list."""
    units = await ctx.service(ServiceControl).states(services.UNITS)
    return [
        services.row(name, units[name]) for name in sorted(services.UNITS) if units[name].load != "not-found"
    ]


@method("GET", "/nodes/{node}/services/{service}", permission=AUDIT)
async def directory(ctx: Context, p: ServicePath) -> list[Row]:
    """Directory index."""
    return [{"subdir": name} for name in ("state", "start", "stop", "restart", "reload")]


@method("GET", "/nodes/{node}/services/{service}/state", permission=AUDIT, where=Where.NODE, protected=True)
async def state(ctx: Context, p: ServicePath) -> Row:
    """Read service properties."""
    return services.row(p.service, (await ctx.service(ServiceControl).states([p.service]))[p.service])


@method(
    "POST",
    "/nodes/{node}/services/{service}/start",
    permission=MODIFY,
    where=Where.NODE,
    protected=True,
    task=True,
)
async def start(ctx: Context, p: ServicePath) -> Work:
    """Start service."""
    return await _work(ctx, p, "start")


@method(
    "POST",
    "/nodes/{node}/services/{service}/stop",
    permission=MODIFY,
    where=Where.NODE,
    protected=True,
    task=True,
)
async def stop(ctx: Context, p: ServicePath) -> Work:
    """Stop service."""
    if p.service in services.ESSENTIAL:
        raise ParameterError(
            {
                "service": f"'{p.service}' can't be stopped from here, since nothing could start it again: "
                f"use 'systemctl stop {p.service}' on the node, or restart it"
            }
        )
    return await _work(ctx, p, "stop")


@method(
    "POST",
    "/nodes/{node}/services/{service}/restart",
    permission=MODIFY,
    where=Where.NODE,
    protected=True,
    task=True,
)
async def restart(ctx: Context, p: ServicePath) -> Work:
    """Hard restart service."""
    return await _work(ctx, p, "restart")


@method(
    "POST",
    "/nodes/{node}/services/{service}/reload",
    permission=MODIFY,
    where=Where.NODE,
    protected=True,
    task=True,
)
async def reload(ctx: Context, p: ServicePath) -> Work:
    """Reload service. What can't reload is restarted."""
    return await _work(ctx, p, "reload")


async def _work(ctx: Context, p: ServicePath, verb: services.Verb) -> Work:
    control = ctx.service(ServiceControl)
    unit = (await control.states([p.service]))[p.service]
    if unit.load == "not-found":
        raise KvorumError(f"service '{p.service}' is not installed on node '{p.node}': no unit {unit.name}")

    async def run(log: TaskLog) -> None:
        log.line(f"{verb} {unit.name}")
        await control.act(verb, p.service, log.line)

    return Work(f"srv{verb}", p.service, run)
