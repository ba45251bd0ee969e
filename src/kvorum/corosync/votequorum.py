"""Votes: who has how many, how many are needed, and what the QDevice adds (votequorum(5))."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvorum.corosync.cpg import RingId
from kvorum.corosync.handle import Handle
from kvorum.corosync.native.library import TRACK_CHANGES, TRACK_CURRENT, ffi

QDEVICE_NODEID = 0


class Flag(enum.IntFlag):
    """What votequorum says about itself and the QDevice."""

    TWONODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    QDEVICE_REGISTERED = 64
    QDEVICE_ALIVE = 128
    QDEVICE_CAST_VOTE = 256
    QDEVICE_MASTER_WINS = 512


class NodeState(enum.IntEnum):
    """A node's state as votequorum knows it."""

    UNKNOWN = 0
    MEMBER = 1
    DEAD = 2
    LEAVING = 3


@dataclass(frozen=True, slots=True)
class VoteInfo:
    """One node's votes, and the cluster's as that node's partition counts them."""

    nodeid: int
    state: NodeState
    votes: int
    expected: int
    """Votes expected in all, as this node's configuration says."""
    highest_expected: int
    total: int
    """Votes present in the partition, the QDevice's included."""
    quorum: int
    """Votes needed."""
    flags: Flag
    qdevice_votes: int
    qdevice_name: str

    @property
    def quorate(self) -> bool:
        """Whether the partition may go on."""
        return Flag.QUORATE in self.flags


QuorumVotesChange = Callable[[bool, dict[int, NodeState]], None]
"""(quorate, state by node id); the QDevice, where there is one, is node 0."""
NodelistChange = Callable[[RingId, tuple[int, ...]], None]
"""(ring id, members' node ids)."""
ExpectedChange = Callable[[int], None]
"""(votes expected in all)."""


class Votequorum(Handle):
    """The votequorum service. Raises ``CorosyncGone`` when corosync does not run."""

    _service = "votequorum"
    _prefix = "votequorum"

    def __init__(
        self,
        *,
        quorum_change: QuorumVotesChange | None = None,
        nodelist_change: NodelistChange | None = None,
        expected_change: ExpectedChange | None = None,
    ) -> None:
        super().__init__()
        self._quorum_change = quorum_change
        self._nodelist_change = nodelist_change
        self._expected_change = expected_change
        callbacks = ffi.new("votequorum_callbacks_t *")
        quorum = ffi.callback("votequorum_quorum_fn_t", self._quorum)
        nodelist = ffi.callback("votequorum_nodelist_fn_t", self._nodelist)
        expected = ffi.callback("votequorum_expected_fn_t", self._expected)
        callbacks.quorum_fn, callbacks.nodelist_fn, callbacks.expected_fn = quorum, nodelist, expected
        self._keep += [callbacks, quorum, nodelist, expected]
        self._open("votequorum_initialize", callbacks)

    def info(self, nodeid: int = 0) -> VoteInfo:
        """What is known of a node; 0 is this one. Raises ``CorosyncNotFound`` for an unknown node."""
        raw = ffi.new("struct votequorum_info *")
        self._call("votequorum_getinfo", nodeid, raw)
        state = raw.node_state
        return VoteInfo(
            nodeid=raw.node_id,
            state=NodeState(state) if state in (1, 2, 3) else NodeState.UNKNOWN,
            votes=raw.node_votes,
            expected=raw.node_expected_votes,
            highest_expected=raw.highest_expected,
            total=raw.total_votes,
            quorum=raw.quorum,
            flags=Flag(raw.flags),
            qdevice_votes=raw.qdevice_votes,
            qdevice_name=ffi.string(raw.qdevice_name).decode("utf-8", "replace"),
        )

    def set_expected(self, votes: int) -> None:
        """Expect so many votes in all from now on, until the configuration says otherwise."""
        self._call("votequorum_setexpected", votes)

    def set_votes(self, nodeid: int, votes: int) -> None:
        """Give a node so many votes until the configuration says otherwise; 0 is this node."""
        self._call("votequorum_setvotes", nodeid, votes)

    def track(self) -> None:
        """Tell the present state, then every change, through the callbacks."""
        self._call("votequorum_trackstart", 0, TRACK_CURRENT | TRACK_CHANGES)

    def track_stop(self) -> None:
        """Tell no further changes."""
        self._call("votequorum_trackstop")

    def _quorum(self, _h: int, _context: int, quorate: int, count: int, nodes: Any) -> None:
        change = self._quorum_change
        if change is not None:
            states = {
                nodes[i].nodeid: NodeState(nodes[i].state)
                if nodes[i].state in (1, 2, 3)
                else NodeState.UNKNOWN
                for i in range(count)
            }
            now = bool(quorate)
            self._queue(lambda: change(now, states))

    def _nodelist(self, _h: int, _context: int, ring: Any, count: int, nodes: Any) -> None:
        change = self._nodelist_change
        if change is not None:
            ring_id, now = RingId(ring.nodeid, ring.seq), tuple(nodes[i] for i in range(count))
            self._queue(lambda: change(ring_id, now))

    def _expected(self, _h: int, _context: int, votes: int) -> None:
        change = self._expected_change
        if change is not None:
            self._queue(lambda: change(votes))
