"""Asks the cluster's nodes whether this node was removed, which it can't know while it is cut off from them.

Asked over TLS, trusting the cluster's CA and each node's name; who asks needs no more than its certificate's
fingerprint, and is told of no other node.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import aiohttp

from kvorum.cluster.leave.removal import own_fingerprint
from kvorum.cluster.leave.removed import Removed
from kvorum.cluster.node_files import CA
from kvorum.store import Member, Store

PORT = 8006
_LIMIT = aiohttp.ClientTimeout(total=5, connect=3)


async def ask_if_removed(store: Store, port: int = PORT) -> Removed | None:
    """The first word of any node that this one was removed; ``None`` when none says so."""
    authority, known = store.read(CA), own_fingerprint(store, store.node)
    others = [member for member in store.membership.members if member.name != store.node]
    if authority is None or not known or not others:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.text)
    async with aiohttp.ClientSession(timeout=_LIMIT) as session:
        answers = await asyncio.gather(*(_ask(session, context, one, known, port) for one in others))
    return next((answer for answer in answers if answer is not None), None)


async def _ask(
    session: aiohttp.ClientSession, context: ssl.SSLContext, member: Member, known: str, port: int
) -> Removed | None:
    host = f"[{member.address}]" if ":" in member.address else member.address
    try:
        async with session.get(
            f"https://{host}:{port}/api2/json/kvorum/cluster/removed",
            params={"fingerprint": known},
            ssl=context,
            server_hostname=f"{member.name}.nodes.kvorum",
        ) as response:
            body = await response.json(content_type=None)
        row = body.get("data") if response.status == 200 and isinstance(body, dict) else None
        return Removed(row["node"], known, int(row["time"]), row["by"]) if isinstance(row, dict) else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
        return None  # a node that can't be asked says nothing


def sentence(removed: Removed, cluster: str) -> str:
    """What a removed node says of itself."""
    when = datetime.fromtimestamp(removed.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"this node was removed from cluster '{cluster}' by {removed.by} at {when}, so what it knows is of "
        "the past and it changes nothing; run 'pvecm leave' here to make it a node of its own, which can "
        "join again"
    )
