"""The audit log: a JSON line for each change that was asked for, who asked, from where, and what came of it.

    {"time": "2026-11-28T06:00:00.000Z", "user": "joe@pve!ci", "address": "10.0.0.7", "method": "POST",
     "path": "/nodes/n1/qemu/100/status/start", "parameters": {"timeout": "30", "password": null},
     "status": 200, "task": "UPID:…"}

Of the parameters all names are there; values only of those known to hold no secret (``SHOWN``), so that a
parameter nobody thought of shows too little rather than too much.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kvorum.access.signing import Clock, wall_clock
from kvorum.interface import Auditor, Identity

log = logging.getLogger(__name__)

LARGEST_BYTES = 16 << 20
KEPT = 4
"""Older files, ``audit.log.1`` and so on."""
LONGEST_VALUE = 256
LONGEST_SENTENCE = 1000

SHOWN = frozenset(
    re.findall(
        r"[^,]+",
        "allow-move,append,archive,bwlimit,default,delete,digest,enable,expire,filename,force,format,groupid,"
        "groups,id,iface,keyboard,link0,link1,name,new,newid,node,nodeid,online,path,poolid,privs,privsep,"
        "propagate,realm,roleid,roles,role,service,sid,size,skiplock,snapname,start,state,storage,storages,"
        "target,targetstorage,timeout,tokenid,tokens,type,upid,userid,username,users,vmid,vms,votes,volume,"
        "with-local-disks",
    )
)
"""Parameters whose values are written down."""


class AuditLog(Auditor):
    """Appends to one file, which may be moved away at any time; at 16 MiB it does so itself."""

    def __init__(self, path: Path, clock: Clock = wall_clock) -> None:
        self._path = path
        self._clock = clock

    def note(
        self,
        identity: Identity,
        verb: str,
        path: str,
        parameters: Mapping[str, str],
        status: int,
        outcome: str,
    ) -> None:
        """Append a line; a full or absent disk is said in the daemon's log and hinders no change."""
        when = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "time": when.replace("+00:00", "Z"),
            "user": identity.name,
            "address": identity.address,
            "method": verb,
            "path": path,
            "parameters": {
                name: value[:LONGEST_VALUE] if name in SHOWN else None for name, value in parameters.items()
            },
            "status": status,
        }
        if outcome:
            entry["task" if outcome.startswith("UPID:") else "error"] = outcome[:LONGEST_SENTENCE]
        try:
            self._append(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            log.error("a change by %s is not in the audit log: %s", identity.name, error.strerror)

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o640)
        try:
            os.write(descriptor, line)
            full = os.fstat(descriptor).st_size >= LARGEST_BYTES
        finally:
            os.close(descriptor)
        if full:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
