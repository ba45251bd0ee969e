"""What /metrics shows."""

from __future__ import annotations

from kvorum.interface import Context, NoParameters, method
from kvorum.node.methods.index import own_snapshot
from kvorum.node.methods.models import CLUSTER_AUDIT


@method("GET", "/kvorum/metrics", permission=CLUSTER_AUDIT)
async def metrics(ctx: Context, p: NoParameters) -> str:
    """This node's metrics in Prometheus' text format; https://NODE:8006/metrics is the same as plain text."""
    from kvorum.node.metrics import text  # the library is loaded where somebody scrapes

    return text(own_snapshot(ctx.store), ctx.store.node)
