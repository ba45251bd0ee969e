"""A node's names, time zone and hosts file."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Annotated

from pydantic import AfterValidator, Field

from kvorum.core.errors import Conflict
from kvorum.interface import Context, Where, method
from kvorum.node.host_files import HostFiles
from kvorum.node.methods.models import AUDIT, CLUSTER_AUDIT, MODIFY, NodePath, Row


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"'{text}' is no IP address") from None


Address = Annotated[str, AfterValidator(_address)]


class Dns(NodePath):
    search: str = Field(
        max_length=255, pattern=r"^[A-Za-z0-9._ -]+$", description="Search domain for host-name lookup."
    )
    dns1: Address | None = Field(None, description="First name server.")
    dns2: Address | None = Field(None, description="Second name server.")
    dns3: Address | None = Field(None, description="Third name server.")


class TimeZone(NodePath):
    timezone: str = Field(max_length=64, description="Time zone, such as Europe/Berlin.")


class Hosts(NodePath):
    data: str = Field(max_length=1 << 20, description="The target content of /etc/hosts.")
    digest: str | None = Field(None, max_length=64, description="Refuse if the file has another digest now.")


@method("GET", "/nodes/{node}/dns", permission=AUDIT, where=Where.NODE, protected=True)
async def read_dns(ctx: Context, p: NodePath) -> Row:
    """Read DNS settings."""
    return dict(await asyncio.to_thread(ctx.service(HostFiles).dns))


@method("PUT", "/nodes/{node}/dns", permission=MODIFY, where=Where.NODE, protected=True)
async def set_dns(ctx: Context, p: Dns) -> None:
    """Write DNS settings."""
    servers = [server for server in (p.dns1, p.dns2, p.dns3) if server]
    await asyncio.to_thread(ctx.service(HostFiles).set_dns, p.search, servers)


@method("GET", "/nodes/{node}/time", permission=AUDIT, where=Where.NODE, protected=True)
async def read_time(ctx: Context, p: NodePath) -> Row:
    """Read server time and time zone settings."""
    now = time.time()
    zone = ctx.service(HostFiles).timezone()
    return {"time": int(now), "localtime": int(now) + zone.offset_s(now), "timezone": zone.name}


@method("PUT", "/nodes/{node}/time", permission=MODIFY, where=Where.NODE, protected=True)
async def set_time(ctx: Context, p: TimeZone) -> None:
    """Set time zone."""
    await asyncio.to_thread(ctx.service(HostFiles).set_timezone, p.timezone)
    time.tzset()


@method("GET", "/nodes/{node}/hosts", permission=CLUSTER_AUDIT, where=Where.NODE, protected=True)
async def read_hosts(ctx: Context, p: NodePath) -> Row:
    """Get the content of /etc/hosts."""
    text, digest = await asyncio.to_thread(ctx.service(HostFiles).hosts)
    return {"data": text, "digest": digest}


@method("POST", "/nodes/{node}/hosts", permission=MODIFY, where=Where.NODE, protected=True)
async def set_hosts(ctx: Context, p: Hosts) -> None:
    """Write /etc/hosts."""
    files = ctx.service(HostFiles)
    if p.digest and (await asyncio.to_thread(files.hosts))[1] != p.digest:
        raise Conflict("detected modified configuration - file changed by other user? Try again.")
    await asyncio.to_thread(files.set_hosts, p.data)
