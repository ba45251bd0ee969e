"""Who is in the cluster: corosync.conf's list of nodes, joined with who is in the store's group now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kvorum.store.face import Member, Membership

if TYPE_CHECKING:
    from kvorum.store.protocol import Status  # its machine is the store's alone

REMOVED = "removed-from-cluster"
"""The name of the file beside the database that holds why a removed node is read-only."""
WARNED = "cluster-warnings"
"""What each node's pvedaemon publishes of links and clocks that are wrong: a sentence a line."""
_ADDRESSES = tuple(f"ring{link}_addr" for link in range(8))
"""A node is known by the address of its first link, which need not be link 0."""


def standalone(node: str, address: str = "127.0.0.1") -> Membership:
    """The membership of a node without a cluster."""
    return Membership(None, (Member(node, 0, address, True),), True, 1)


class MembershipSource:
    """Makes a ``Membership`` of each status; its version grows with each difference."""

    def __init__(self, config: Path | None, node: str, removed: Path | None = None) -> None:
        """``config`` is corosync.conf, or ``None`` on a standalone node.

        ``removed`` is a file that says, in a sentence, that the cluster removed this node (``REMOVED``).
        """
        self.config = config
        self._removed = removed
        self._stamp = (0, 0)
        self._listed: tuple[str, int, tuple[Member, ...]] = ("", 0, ())
        self.current = standalone(node)
        if config is not None:
            self.current = Membership("", (), False, 1, "the store is starting")

    def update(self, status: Status) -> bool:
        """Take a new status; returns whether ``current`` is another now.

        While members compare their states, quorum stays as it was: writes wait for the outcome.
        """
        old = self.current
        quorate = old.quorate if status.changing else status.writable
        reason = old.reason if status.changing else status.reason
        if self.config is not None and (told := self._told_removed()):
            quorate, reason = False, told
        adoptable = not quorate and waits_for_members(reason)
        if self.config is None:
            new = Membership(None, old.members, quorate, old.version, reason, 0, adoptable)
        else:
            cluster, config_version, listed = self._read(self.config)
            members = tuple(
                Member(m.name, m.nodeid, m.address, m.nodeid in status.members, m.votes) for m in listed
            )
            new = Membership(cluster, members, quorate, old.version, reason, config_version, adoptable)
        if new == old:
            return False
        self.current = replace(new, version=old.version + 1)
        return True

    def _told_removed(self) -> str:
        try:
            return self._removed.read_text().strip() if self._removed is not None else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def _read(self, config: Path) -> tuple[str, int, tuple[Member, ...]]:
        try:
            stat = config.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                self._listed, self._stamp = read_nodes(config.read_text()), stamp
        except (OSError, ValueError):
            return self._listed
        return self._listed


def waits_for_members(reason: str) -> bool:
    """Whether a status's sentence is of the rule of views: a majority is here, and others may know more."""
    return reason.startswith("waiting for ") and ("last seen together" in reason or "never met" in reason)


def read_nodes(text: str) -> tuple[str, int, tuple[Member, ...]]:
    """The cluster's name, the configuration's version, and its nodes, from corosync.conf(5)'s text."""
    cluster, version = "", 0
    members: list[Member] = []
    sections: list[str] = []
    node: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if line.endswith("{"):
            sections.append(line[:-1].strip())
            node = {} if sections == ["nodelist", "node"] else node
        elif line == "}" and sections:
            if sections == ["nodelist", "node"] and "nodeid" in node:
                address = next((node[key] for key in _ADDRESSES if key in node), "")
                name = node.get("name", address)
                members.append(
                    Member(name, int(node["nodeid"]), address, False, int(node.get("quorum_votes", "1")))
                )
            sections.pop()
        elif ":" in line:
            key, value = (part.strip() for part in line.split(":", 1))
            if sections == ["nodelist", "node"]:
                node[key] = value
            elif sections == ["totem"] and key == "cluster_name":
                cluster = value
            elif sections == ["totem"] and key == "config_version":
                version = int(value)
    return cluster, version, tuple(members)
