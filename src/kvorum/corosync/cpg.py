"""Closed process groups (cpg_overview(8)): messages to all members in one order, and who is a member."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvorum.corosync.errors import CorosyncError
from kvorum.corosync.handle import Handle
from kvorum.corosync.native.library import ffi

if TYPE_CHECKING:
    import asyncio

_MODEL_V1 = 1
_DELIVER_INITIAL_TOTEM_CONF = 1
_TYPE_AGREED = 2
_MEMBERS_MAX = 128
_NAME_MAX_BYTES = 128


class Reason(enum.IntEnum):
    """Why a process is in a change's list of who left or joined."""

    UNDEFINED = 0
    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A member of a group: a process on a node."""

    nodeid: int
    pid: int


@dataclass(frozen=True, slots=True)
class Departure:
    """A process that left the group, or joined it, and why."""

    address: Address
    reason: Reason


@dataclass(frozen=True, slots=True)
class RingId:
    """A totem membership's id: the node that formed it, and a number that grows."""

    nodeid: int
    seq: int

    def __str__(self) -> str:
        """As Corosync's tools print it, in hex: ``1.1a8``."""
        return f"{self.nodeid:x}.{self.seq:x}"


Deliver = Callable[[int, int, bytes], None]
"""(nodeid, pid, message), in the same order at every member."""
GroupChange = Callable[[tuple[Address, ...], tuple[Departure, ...], tuple[Departure, ...]], None]
"""(members, left, joined), ordered among the messages."""
TotemChange = Callable[[RingId, tuple[int, ...]], None]
"""(ring id, node ids), after the group's own change; also once after joining."""


class Cpg(Handle):
    """A member of one group.

    A message of up to ``max_message_bytes`` (about 1 MB) goes out in one piece; what is larger is for the
    caller to split. Raises ``CorosyncGone`` when corosync does not run, ``CorosyncMissing`` without its
    libraries.
    """

    _service = "cpg"
    _prefix = "cpg"

    def __init__(
        self,
        *,
        deliver: Deliver,
        group_change: GroupChange,
        totem_change: TotemChange | None = None,
    ) -> None:
        super().__init__()
        self._deliver, self._group_change, self._totem_change = deliver, group_change, totem_change
        self._turn: asyncio.Lock | None = None
        model = ffi.new("cpg_model_v1_data_t *")
        model.model = _MODEL_V1
        model.cpg_deliver_fn = self._callback("cpg_deliver_fn_t", self._delivered)
        model.cpg_confchg_fn = self._callback("cpg_confchg_fn_t", self._changed)
        model.flags = 0
        if totem_change is not None:
            model.cpg_totem_confchg_fn = self._callback("cpg_totem_confchg_fn_t", self._totem_changed)
            model.flags = _DELIVER_INITIAL_TOTEM_CONF
        self._open("cpg_model_initialize", _MODEL_V1, model, ffi.NULL)

    async def join(self, group: str, *, timeout: float = 10.0) -> None:
        """Join a group; the first ``group_change`` tells when we are in it.

        Raises ``CorosyncBusy`` when Corosync did not take it within ``timeout`` seconds.
        """
        name = _name(group)
        await self._patiently(lambda: self._call("cpg_join", name), timeout)

    async def leave(self, group: str, *, timeout: float = 10.0) -> None:
        """Leave the group; the last ``group_change`` tells when we are out of it."""
        name = _name(group)
        await self._patiently(lambda: self._call("cpg_leave", name), timeout)

    def send_now(self, data: bytes) -> None:
        """Send a message to all members, this one included, or raise ``CorosyncBusy`` and send nothing.

        Raises ``CorosyncError`` (CS_ERR_TOO_BIG, CS_ERR_INVALID_PARAM) for what can't be sent at all.
        """
        if len(data) > self.max_message_bytes:
            raise CorosyncError(
                "cpg_mcast_joined",
                "CS_ERR_TOO_BIG",
                f"a message of {len(data)} bytes is too large for corosync: at most {self.max_message_bytes}",
            )
        vector = ffi.new("kv_iovec *")
        buffer = ffi.from_buffer(data)
        vector.iov_base, vector.iov_len = buffer, len(data)
        self._call("cpg_mcast_joined", _TYPE_AGREED, vector, 1)

    async def send(self, data: bytes, *, timeout: float = 10.0) -> None:
        """Send a message, waiting while Corosync is busy; messages leave in the order of the calls.

        Raises ``CorosyncBusy`` when it was busy for all of ``timeout`` seconds: the message was not sent.
        """
        import asyncio

        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            await self._patiently(lambda: self.send_now(data), timeout)

    @property
    def local_nodeid(self) -> int:
        """This node's id."""
        value = ffi.new("unsigned int *")
        self._call("cpg_local_get", value)
        return int(value[0])

    @property
    def max_message_bytes(self) -> int:
        """The largest message that goes out in one piece."""
        value = ffi.new("uint32_t *")
        self._call("cpg_max_atomic_msgsize_get", value)
        return int(value[0])

    @property
    def flow_controlled(self) -> bool:
        """Whether Corosync asks to send no more for now."""
        value = ffi.new("int *")
        self._call("cpg_flow_control_state_get", value)
        return bool(value[0])

    def members(self, group: str) -> tuple[Address, ...]:
        """Who is in a group now, as this node's Corosync knows it."""
        addresses = ffi.new(f"struct cpg_address[{_MEMBERS_MAX}]")
        count = ffi.new("int *", _MEMBERS_MAX)
        self._call("cpg_membership_get", _name(group), addresses, count)
        return tuple(Address(addresses[i].nodeid, addresses[i].pid) for i in range(count[0]))

    def _callback(self, kind: str, function: Callable[..., None]) -> Any:
        callback = ffi.callback(kind, function)
        self._keep.append(callback)
        return callback

    def _delivered(self, _h: int, _group: Any, nodeid: int, pid: int, message: Any, size: int) -> None:
        data = bytes(ffi.buffer(message, size)) if size else b""
        self._queue(lambda: self._deliver(nodeid, pid, data))

    def _changed(
        self,
        _h: int,
        _group: Any,
        members: Any,
        n_members: int,
        left: Any,
        n_left: int,
        joined: Any,
        n_in: int,
    ) -> None:
        now = tuple(sorted(Address(members[i].nodeid, members[i].pid) for i in range(n_members)))
        out, new = _departures(left, n_left), _departures(joined, n_in)
        self._queue(lambda: self._group_change(now, out, new))

    def _totem_changed(self, _h: int, ring: Any, count: int, members: Any) -> None:
        ring_id = RingId(ring.nodeid, ring.seq)
        nodes = tuple(sorted(members[i] for i in range(count)))
        if self._totem_change is not None:
            change = self._totem_change
            self._queue(lambda: change(ring_id, nodes))


def _departures(entries: Any, count: int) -> tuple[Departure, ...]:
    return tuple(
        Departure(Address(entries[i].nodeid, entries[i].pid), Reason(entries[i].reason)) for i in range(count)
    )


def _name(group: str) -> Any:
    text = group.encode()
    if not 0 < len(text) < _NAME_MAX_BYTES:
        raise CorosyncError(
            "cpg_join", "CS_ERR_NAME_TOO_LONG", f"'{group}' is no group name: use 1 to 127 bytes"
        )
    name = ffi.new("struct cpg_name *")
    name.length = len(text)
    name.value = text
    return name
