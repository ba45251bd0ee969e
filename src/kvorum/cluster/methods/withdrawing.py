"""Takes a node off the list that never finished its join, also where that needs the quorum back first."""

from __future__ import annotations

import asyncio

from kvorum.cluster.expected import expect_votes, wait_quorate
from kvorum.cluster.leave.removal import guests_of, remove
from kvorum.cluster.methods.models import configured
from kvorum.core.errors import Conflict
from kvorum.store import Store


async def take_off(store: Store, node: str, who: str) -> None:
    """Take a node off the list whose own join failed: its corosync does not run.

    A cluster that waits for the node's votes gets its quorum back first, by expecting what it had before.
    Raises ``Conflict`` for a node that is here, and as ``Store.transact`` does.
    """
    if any(member.name == node and member.online for member in store.membership.members):
        raise Conflict(f"node '{node}' is here: it can't be withdrawn, only removed")
    _, old = configured(store)
    if old.node(node) is None:
        return
    if not store.membership.quorate:
        await asyncio.to_thread(expect_votes, old.without_node(node).total_votes)
        await wait_quorate(store)
    await remove(store, node, who, guests_of(store, node))
