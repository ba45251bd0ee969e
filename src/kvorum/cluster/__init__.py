"""The cluster as a whole: create, join, votes, its certificate authority, and quorum explained.

Names are loaded when they are first used: ``pvecm status`` needs few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvorum.cluster.certificates import fingerprint
    from kvorum.cluster.node_files import ensure_node_files, local_addresses, node_fingerprint
    from kvorum.cluster.quorum import Explanation, Voter, explain
    from kvorum.cluster.service import running
    from kvorum.cluster.status import nodes_text, status_text

_HOMES = {
    "Explanation": "quorum",
    "Voter": "quorum",
    "ensure_node_files": "node_files",
    "explain": "quorum",
    "fingerprint": "certificates",
    "local_addresses": "node_files",
    "node_fingerprint": "node_files",
    "nodes_text": "status",
    "running": "service",
    "status_text": "status",
}

__all__ = [
    "Explanation",
    "Voter",
    "ensure_node_files",
    "explain",
    "fingerprint",
    "local_addresses",
    "node_fingerprint",
    "nodes_text",
    "running",
    "status_text",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
