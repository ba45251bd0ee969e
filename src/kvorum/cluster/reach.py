"""Whether the cluster's nodes answer on every link, from the very addresses that a new node gives.

Corosync itself can't be asked before there is a membership, and a link that is dead from the start is noticed
only when the other one fails. What is tried is the page's port: who refuses the connection is there too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

PORT = 8006
PROBE_S = 3.0

Ring = Mapping[int, str]
"""A node's addresses by link."""


async def silent_links(
    own: Ring, nodes: Mapping[str, Ring], port: int = PORT, probe_s: float = PROBE_S
) -> dict[str, list[int]]:
    """The links of each node on which nobody answered, all of them tried at once."""
    tries = [(name, link) for name, ring in nodes.items() for link in ring if link in own]
    answers = await asyncio.gather(
        *(_answers(own[link], nodes[name][link], port, probe_s) for name, link in tries)
    )
    silent: dict[str, list[int]] = {name: [] for name in nodes}
    for (name, link), answered in zip(tries, answers, strict=True):
        if not answered:
            silent[name].append(link)
    return silent


def reach_refusals(own: Ring, nodes: Mapping[str, Ring], silent: Mapping[str, list[int]]) -> list[str]:
    """Why a node can't join with these addresses. Pure.

    A node that answers on no link is off, and says nothing of the links, if another answers.
    """
    off = [name for name, ring in nodes.items() if set(silent.get(name, ())) >= set(ring) & set(own)]
    asked = [name for name in nodes if name not in off] or list(nodes)
    return [
        f"link {link}: node '{name}' does not answer at {nodes[name][link]} from {own[link]}: look at that "
        "network (cable, switch, firewall, the address), or give another address"
        for name in asked
        for link in silent.get(name, ())
    ]


async def _answers(own: str, other: str, port: int, probe_s: float) -> bool:
    try:
        async with asyncio.timeout(probe_s):
            _, writer = await asyncio.open_connection(other, port, local_addr=(own, 0))
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
