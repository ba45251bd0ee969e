"""Corosync: bindings to its libraries (cpg, quorum, votequorum, cmap, cfg) and the corosync.conf document.

The document's names are loaded when they are first used: the commands that only ask corosync do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from kvorum.corosync.cfg import Cfg
from kvorum.corosync.cmap import Cmap, Kind, Map, Value
from kvorum.corosync.cpg import Address, Cpg, Departure, Reason, RingId
from kvorum.corosync.errors import (
    CorosyncBusy,
    CorosyncDenied,
    CorosyncError,
    CorosyncGone,
    CorosyncMissing,
    CorosyncNotFound,
)
from kvorum.corosync.handle import open_patiently
from kvorum.corosync.quorum import Quorum
from kvorum.corosync.votequorum import QDEVICE_NODEID, Flag, NodeState, VoteInfo, Votequorum

if TYPE_CHECKING:
    from kvorum.corosync.configuration import (
        MAX_LINKS,
        Configuration,
        ConfiguredDevice,
        ConfiguredNode,
        new_cluster,
    )
    from kvorum.corosync.document import DocumentError, Section
    from kvorum.corosync.judgement import Judgement, judge

_HOMES = {
    "MAX_LINKS": "configuration",
    "Configuration": "configuration",
    "ConfiguredDevice": "configuration",
    "ConfiguredNode": "configuration",
    "DocumentError": "document",
    "Judgement": "judgement",
    "Section": "document",
    "judge": "judgement",
    "new_cluster": "configuration",
}

__all__ = [
    "MAX_LINKS",
    "QDEVICE_NODEID",
    "Address",
    "Cfg",
    "Cmap",
    "Configuration",
    "ConfiguredDevice",
    "ConfiguredNode",
    "CorosyncBusy",
    "CorosyncDenied",
    "CorosyncError",
    "CorosyncGone",
    "CorosyncMissing",
    "CorosyncNotFound",
    "Cpg",
    "Departure",
    "DocumentError",
    "Flag",
    "Judgement",
    "Kind",
    "Map",
    "NodeState",
    "Quorum",
    "Reason",
    "RingId",
    "Section",
    "Value",
    "VoteInfo",
    "Votequorum",
    "judge",
    "new_cluster",
    "open_patiently",
]


def __getattr__(name: str) -> object:
    """Load a public name of the document from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
