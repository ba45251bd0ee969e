"""Corosync: bindings to its libraries (cpg, quorum, votequorum, cmap, cfg) and the corosync.conf document."""

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

__all__ = [
    "QDEVICE_NODEID",
    "Address",
    "Cfg",
    "Cmap",
    "CorosyncBusy",
    "CorosyncDenied",
    "CorosyncError",
    "CorosyncGone",
    "CorosyncMissing",
    "CorosyncNotFound",
    "Cpg",
    "Departure",
    "Flag",
    "Kind",
    "Map",
    "NodeState",
    "Quorum",
    "Reason",
    "RingId",
    "Value",
    "VoteInfo",
    "Votequorum",
    "open_patiently",
]
