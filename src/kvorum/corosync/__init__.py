"""Corosync: bindings to its libraries (cpg, quorum, votequorum, cmap, cfg) and the corosync.conf document."""

from kvorum.corosync.cfg import Cfg
from kvorum.corosync.cmap import Cmap, Kind, Map, Value
from kvorum.corosync.configuration import (
    MAX_LINKS,
    Configuration,
    ConfiguredDevice,
    ConfiguredNode,
    Judgement,
    judge,
    new_cluster,
)
from kvorum.corosync.cpg import Address, Cpg, Departure, Reason, RingId
from kvorum.corosync.document import DocumentError, Section
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
