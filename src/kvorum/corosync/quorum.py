"""Whether this node's partition is quorate, and who is in it (quorum_overview(3))."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvorum.corosync.cpg import RingId
from kvorum.corosync.handle import Handle
from kvorum.corosync.native.library import TRACK_CHANGES, TRACK_CURRENT, ffi

_MODEL_V1 = 1

QuorumChange = Callable[[bool, RingId, tuple[int, ...]], None]
"""(quorate, ring id, members' node ids), when any of them changes."""
NodesChange = Callable[[RingId, tuple[int, ...], tuple[int, ...], tuple[int, ...]], None]
"""(ring id, members, joined, left), before the quorum change it leads to."""


class Quorum(Handle):
    """The quorum service. Raises ``CorosyncGone`` when corosync does not run."""

    _service = "quorum"
    _prefix = "quorum"

    def __init__(
        self, *, quorum_change: QuorumChange | None = None, nodes_change: NodesChange | None = None
    ) -> None:
        super().__init__()
        self._quorum_change, self._nodes_change = quorum_change, nodes_change
        model = ffi.new("quorum_model_v1_data_t *")
        model.model = _MODEL_V1
        notify = ffi.callback("quorum_notify_fn_t", self._notified)
        nodes = ffi.callback("quorum_nodelist_fn_t", self._nodes)
        self._keep += [notify, nodes]
        model.quorum_notify_fn, model.nodelist_notify_fn = notify, nodes
        kind = ffi.new("uint32_t *")
        self._open("quorum_model_initialize", _MODEL_V1, model, kind, ffi.NULL)
        self.has_provider = bool(kind[0])
        """Whether a quorum provider is configured at all."""

    @property
    def quorate(self) -> bool:
        """Whether the partition is quorate now."""
        value = ffi.new("int *")
        self._call("quorum_getquorate", value)
        return bool(value[0])

    def track(self) -> None:
        """Tell the present state, then every change, through the callbacks."""
        self._call("quorum_trackstart", TRACK_CURRENT | TRACK_CHANGES)

    def track_stop(self) -> None:
        """Tell no further changes."""
        self._call("quorum_trackstop")

    def _notified(self, _h: int, quorate: int, ring: Any, count: int, members: Any) -> None:
        change = self._quorum_change
        if change is not None:
            now, ring_id, nodes = bool(quorate), RingId(ring.nodeid, ring.seq), _ids(members, count)
            self._queue(lambda: change(now, ring_id, nodes))

    def _nodes(
        self, _h: int, ring: Any, n: int, members: Any, n_in: int, joined: Any, n_left: int, left: Any
    ) -> None:
        change = self._nodes_change
        if change is not None:
            ring_id, now = RingId(ring.nodeid, ring.seq), _ids(members, n)
            new, out = _ids(joined, n_in), _ids(left, n_left)
            self._queue(lambda: change(ring_id, now, new, out))


def _ids(entries: Any, count: int) -> tuple[int, ...]:
    return tuple(entries[i] for i in range(count))
