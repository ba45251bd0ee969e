"""Whether nodes reach each other at addresses that corosync shall use, asked before it does.

Each node opens a connection from its own address to the others' and takes only the node that shall be there,
by its certificate: an address that answers may be another machine's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from kvorum.cluster.node_files import local_addresses, trusting_nodes
from kvorum.store import Store

PORT = 8006
REACH_S = 4.0


async def look_from_here(store: Store, own: str, others: Mapping[str, str], port: int = PORT) -> list[str]:
    """Why this node can't use ``own`` towards the addresses of ``others`` (by name); empty when it can."""
    here = local_addresses()
    if own not in here:
        return [
            f"address '{own}' is not configured on node '{store.node}' ({', '.join(here) or 'none'} are): "
            "give it to an interface first"
        ]
    context = trusting_nodes(store)
    if context is None:
        return [f"node '{store.node}' has no certificates to know the others by"]
    pairs = sorted(others.items())
    found = await asyncio.gather(*(_reach(context, own, node, at, port) for node, at in pairs))
    return [
        f"node '{store.node}' does not reach node '{node}' at '{at}' from '{own}': {why}"
        for (node, at), why in zip(pairs, found, strict=True)
        if why
    ]


async def _reach(context: ssl.SSLContext, own: str, node: str, address: str, port: int) -> str:
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(
                address,
                port,
                ssl=context,
                server_hostname=f"{node}.nodes.kvorum",
                local_addr=(own, 0),
            )
    except TimeoutError:
        return f"no answer within {REACH_S:g} s"
    except ssl.SSLError as error:
        return f"another machine answers there ({error.reason or error})"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return ""
