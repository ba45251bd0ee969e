"""The API's methods about nodes and about everything in the cluster at once."""

from kvorum.node.methods import (
    absent,
    capabilities,
    certificates,
    datacenter,
    files,
    history,
    index,
    jobs,
    journal,
    metrics,
    network,
    pools,
    services,
    status,
    terminal,
)
from kvorum.node.methods.index import snapshot

__all__ = [
    "absent",
    "capabilities",
    "certificates",
    "datacenter",
    "files",
    "history",
    "index",
    "jobs",
    "journal",
    "metrics",
    "network",
    "pools",
    "services",
    "snapshot",
    "status",
    "terminal",
]
