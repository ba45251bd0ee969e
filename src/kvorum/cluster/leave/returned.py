"""A node that the cluster removed while it was away learns so from the others, stops its corosync, says why.

It asks while it has no quorum: when the membership changes, and now and then.
"""

from __future__ import annotations

import asyncio
import logging

from kvorum.cluster.change import Cluster
from kvorum.cluster.leave.ask import ask_if_removed, sentence

AGAIN_S = 15.0
_logger = logging.getLogger(__name__)


async def watch_for_removal(cluster: Cluster, again_s: float = AGAIN_S) -> None:
    """Run until this node is told that it was removed, then make it read-only with the reason."""
    store, host = cluster.store, cluster.host
    memberships = store.watch_membership()
    changed = asyncio.ensure_future(anext(memberships))
    try:
        while True:
            waits = not store.membership.quorate
            await asyncio.wait([changed], timeout=again_s if waits else None)
            if changed.done():
                changed.result()
                changed = asyncio.ensure_future(anext(memberships))
            membership = store.membership
            if membership.cluster is None or membership.quorate or host.removed.exists():
                continue
            if cluster.journal.load() is not None:
                continue  # a create, join or leave is under way
            removed = await ask_if_removed(store)
            if removed is not None:
                told = sentence(removed, membership.cluster)
                _logger.warning("%s", told)
                host.mark_removed(told)
                await host.stop_corosync()
    finally:
        changed.cancel()
