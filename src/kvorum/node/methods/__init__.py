"""The API's methods about nodes and about everything in the cluster at once."""

from kvorum.node.methods import (
    absent,
    backup,
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

__all__ = [
    "absent",
    "backup",
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
    "status",
    "terminal",
]
