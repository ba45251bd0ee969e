"""The certificates that a node shows, and the page's own."""

from __future__ import annotations

from pydantic import Field

from kvorum.core.errors import Conflict
from kvorum.interface import Boolean, Context, LoggedIn, Where, method
from kvorum.node import certificates
from kvorum.node.methods.models import MODIFY, NodePath, Row
from kvorum.store import Delete, Expect, Operation, Write


class Upload(NodePath):
    certificates: str = Field(max_length=1 << 18, description="PEM encoded certificate (chain).")
    key: str | None = Field(None, max_length=1 << 16, description="PEM encoded private key.")
    force: Boolean = Field(False, description="Overwrite existing custom files.")
    restart: Boolean = Field(False, description="Not needed: the page shows the new one from now on.")


class Removal(NodePath):
    restart: Boolean = Field(False, description="Not needed: the page shows the node's own from now on.")


@method("GET", "/nodes/{node}/certificates/info", permission=LoggedIn(), where=Where.NODE)
async def info(ctx: Context, p: NodePath) -> list[Row]:
    """Get information about node's certificates."""
    rows = []
    for path, name in (
        ("pve-root-ca.pem", "pve-root-ca.pem"),
        (f"nodes/{p.node}/pve-ssl.pem", "pve-ssl.pem"),
        (f"nodes/{p.node}/pveproxy-ssl.pem", "pveproxy-ssl.pem"),
    ):
        file = ctx.store.read(path)
        if file is not None:
            rows.append(certificates.row(name, file.data))
    return rows


@method("POST", "/nodes/{node}/certificates/custom", permission=MODIFY, where=Where.NODE, protected=True)
async def upload(ctx: Context, p: Upload) -> Row:
    """Upload or update custom certificate chain and key."""
    path = f"nodes/{p.node}/pveproxy-ssl"
    old, old_key = ctx.store.read(f"{path}.pem"), ctx.store.read(f"{path}.key")
    if old is not None and not p.force:
        raise Conflict("a custom certificate is there already: pass force=1 to replace it")
    key = p.key.encode() if p.key else old_key.data if old_key else b""
    chain = p.certificates.encode()
    certificates.check_pair(chain, key)
    operations = [Write(f"{path}.key", key), Write(f"{path}.pem", chain)]
    expect = [
        Expect(f"{path}.{end}", file.version if file else None)
        for end, file in (("pem", old), ("key", old_key))
    ]
    await ctx.store.transact(operations, expect, who=ctx.identity.name)
    return certificates.row("pveproxy-ssl.pem", chain)


@method("DELETE", "/nodes/{node}/certificates/custom", permission=MODIFY, where=Where.NODE, protected=True)
async def remove(ctx: Context, p: Removal) -> None:
    """DELETE custom certificate chain and key."""
    paths = [f"nodes/{p.node}/pveproxy-ssl.{end}" for end in ("pem", "key")]
    operations: list[Operation] = [Delete(path) for path in paths if ctx.store.read(path) is not None]
    if operations:
        await ctx.store.transact(operations, who=ctx.identity.name)
