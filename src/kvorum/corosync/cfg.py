"""Corosync's administrative service: reload its configuration, remove a node, and the nodes' addresses."""

from __future__ import annotations

import ipaddress

from kvorum.corosync.handle import Handle
from kvorum.corosync.native.library import ffi

_MAX_ADDRESSES = 16
_AF_INET, _AF_INET6 = 2, 10


class Cfg(Handle):
    """The cfg service. Raises ``CorosyncGone`` when corosync does not run."""

    _service = "cfg"
    _prefix = "corosync_cfg"

    def __init__(self) -> None:
        super().__init__()
        callbacks = ffi.new("corosync_cfg_callbacks_t *")
        self._keep.append(callbacks)
        self._open("corosync_cfg_initialize", callbacks)

    @property
    def local_nodeid(self) -> int:
        """This node's id."""
        value = ffi.new("unsigned int *")
        self._call("corosync_cfg_local_get", value)
        return int(value[0])

    def reload(self) -> None:
        """Let corosync on every node of the membership read its corosync.conf anew.

        Raises ``CorosyncError`` when a node refuses its file; it goes on with what it had.
        """
        self._call("corosync_cfg_reload_config")

    def kill_node(self, nodeid: int, reason: str) -> None:
        """Make a node's corosync leave and end."""
        self._call("corosync_cfg_kill_node", nodeid, reason.encode())

    def addresses(self, nodeid: int) -> tuple[str, ...]:
        """A node's addresses, one a link; raises ``CorosyncNotFound`` for an unknown node."""
        count, entries = ffi.new("int *"), ffi.new(f"corosync_cfg_node_address_t[{_MAX_ADDRESSES}]")
        self._call("corosync_cfg_get_node_addrs", nodeid, _MAX_ADDRESSES, count, entries)
        found = (_address(bytes(ffi.buffer(entries[i].address))) for i in range(count[0]))
        return tuple(address for address in found if address)


def _address(sockaddr: bytes) -> str:
    """The address in a ``struct sockaddr``, or nothing for a family that is no IP."""
    family = int.from_bytes(sockaddr[:2], "little")
    if family == _AF_INET:
        return str(ipaddress.IPv4Address(sockaddr[4:8]))
    if family == _AF_INET6:
        return str(ipaddress.IPv6Address(sockaddr[8:24]))
    return ""
