"""The files at the top of /etc/pve that are made when they are read, and the links."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

import msgspec

from kvorum.store import cluster_log
from kvorum.store.corosync_conf import REFUSED
from kvorum.store.host import Host
from kvorum.store.membership import WARNED, MembershipSource

_STORE_LOG = logging.getLogger("kvorum.store")
DEBUG = ".debug"
LINKS = ("local", "qemu-server", "lxc")

OBSERVED = (
    "corosync.conf", "corosync.conf.new", "storage.cfg", "user.cfg", "domains.cfg", "notifications.cfg",
    "priv/notifications.cfg", "priv/shadow.cfg", "priv/acme/plugins.cfg", "priv/tfa.cfg", "priv/token.cfg",
    "priv/ipam.db", "datacenter.cfg", "vzdump.cron", "vzdump.conf", "jobs.cfg", "ha/crm_commands",
    "ha/manager_status", "ha/resources.cfg", "ha/rules.cfg", "ha/groups.cfg", "ha/fence.cfg", "status.cfg",
    "replication.cfg", "ceph.conf", "sdn/vnets.cfg", "sdn/zones.cfg", "sdn/controllers.cfg",
    "sdn/subnets.cfg", "sdn/ipams.cfg", "sdn/mac-cache.json",
    "sdn/dns.cfg", "sdn/.running-config", "firewall/cluster.fw",
    "virtual-guest/cpu-models.conf", "mapping/directory.cfg", "mapping/pci.cfg", "mapping/usb.cfg",
)  # fmt: skip
"""Files whose versions ``.version`` shows."""


def link_target(name: str, node: str) -> str:
    """Where a link at the top points to."""
    return f"nodes/{node}" if name == "local" else f"nodes/{node}/{name}"


class VirtualFiles:
    """Makes each virtual file's present content."""

    def __init__(self, host: Host, membership: MembershipSource) -> None:
        self._host = host
        self._membership = membership
        self._guest_lines: dict[str, tuple[str, int, str]] = {}
        """VM id to its path, its version and its line in ``.vmlist``."""
        self._shown = (b"", b"")
        """The tree's checksum and the ``.vmlist`` made of it."""
        self._makers: Mapping[str, Callable[[], bytes]] = {
            ".members": self._members,
            ".vmlist": self._vmlist,
            ".version": self._version,
            ".clusterlog": self._clusterlog,
            ".rrd": self._rrd,
            DEBUG: self._debug,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The virtual files' names."""
        return tuple(self._makers)

    def content(self, name: str) -> bytes:
        """What the file holds now."""
        return self._makers[name]()

    @staticmethod
    def writable(name: str) -> bool:
        """Whether something may be written to it: only ``.debug``."""
        return name == DEBUG

    def write(self, name: str, data: bytes) -> bool:
        """Turn debug messages on (``1``) or off (``0``) on this node; ``False`` for anything else."""
        wanted = data.strip()
        if name != DEBUG or wanted not in (b"0", b"1"):
            return False
        _STORE_LOG.setLevel(logging.DEBUG if wanted == b"1" else logging.NOTSET)
        return True

    def _debug(self) -> bytes:
        return b"1\n" if _STORE_LOG.level == logging.DEBUG else b"0\n"

    def _members(self) -> bytes:
        membership = self._membership.current
        shown: dict[str, object] = {"nodename": self._host.node, "version": membership.version}
        if membership.cluster is not None:
            cluster: dict[str, object] = {
                "name": membership.cluster,
                "version": membership.config_version,
                "nodes": len(membership.members),
                "quorate": int(membership.quorate),
            }
            if not membership.quorate:
                cluster["reason"] = membership.reason
            if refused := self._refused():
                cluster["refused"] = refused
            if warnings := self._warnings():
                cluster["warnings"] = warnings
            shown["cluster"] = cluster
            shown["nodelist"] = {
                member.name: {"id": member.nodeid, "online": int(member.online), "ip": member.address}
                for member in membership.members
            }
        return _json(shown)

    def _refused(self) -> dict[str, str]:
        """Node name to why it refused an edit of corosync.conf."""
        values = self._host.published().items()
        return {node: value.decode() for (node, key), (value, _) in values if key == REFUSED and value}

    def _warnings(self) -> list[str]:
        """What nodes warn of (``WARNED``)."""
        values = self._host.published().items()
        lines = {
            line for (_, key), (value, _) in values if key == WARNED for line in value.decode().split("\n")
        }
        return sorted(line for line in lines if line)

    def _vmlist(self) -> bytes:
        """Made of a line for each guest that is kept while its file is: there may be thousands.

        A stat asks for it too, for the size.
        """
        if self._shown[0] == self._host.root:
            return self._shown[1]
        tree = self._host.tree
        guests = tree.guests()
        newest = 0
        for vmid, path in guests.items():
            file = tree.read(path)
            version = file.version if file else 0
            newest = max(newest, version)
            kept = self._guest_lines.get(vmid)
            if kept is None or kept[:2] != (path, version):
                self._guest_lines[vmid] = (path, version, _guest_line(vmid, path, version))
        for vmid in self._guest_lines.keys() - guests.keys():
            del self._guest_lines[vmid]
        lines = ",\n".join(self._guest_lines[vmid][2] for vmid in sorted(guests, key=int))
        ids = f"{{\n{lines}\n }}" if lines else "{}"
        self._shown = self._host.root, f'{{\n "version": {newest},\n "ids": {ids}\n}}\n'.encode()
        return self._shown[1]

    def _version(self) -> bytes:
        tree = self._host.tree
        guests = (tree.read(path) for path in tree.guests().values())
        shown: dict[str, object] = {
            "starttime": int(self._host.started),
            "clinfo": self._membership.current.version,
            "vmlist": max((file.version for file in guests if file), default=0),
        }
        for path in OBSERVED:
            file = tree.read(path)
            shown[path] = file.version if file else 0
        kvstore: dict[str, dict[str, int]] = {}
        for node, key in self._host.published():
            kvstore.setdefault(node, {})[key] = self._host.value_version(node, key)
        return _json({**shown, "kvstore": kvstore})

    def _clusterlog(self) -> bytes:
        values = self._host.published().items()
        told = {node: value for (node, key), (value, _) in values if key == cluster_log.KEY}
        return _json({"data": [msgspec.structs.asdict(entry) for entry in cluster_log.merged(told)]})

    def _rrd(self) -> bytes:
        """Each node publishes its lines under ``rrd``."""
        values = self._host.published().items()
        return b"".join(
            value.rstrip(b"\n") + b"\n" for (_, key), (value, _) in values if key == "rrd" and value
        )


def _guest_line(vmid: str, path: str, version: int) -> str:
    _, node, kind, _ = path.split("/")
    shown = {"node": node, "type": "qemu" if kind == "qemu-server" else kind, "version": version}
    return f'  "{vmid}": {json.dumps(shown)}'


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
