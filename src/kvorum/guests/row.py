"""A guest's row as ``/nodes/N/qemu`` and ``status/current`` show it."""

from __future__ import annotations

import msgspec

from kvorum.guests.statistics import GuestRecord
from kvorum.interface import plain, to_json

Row = dict[str, object]


def guest_row(record: GuestRecord) -> Row:
    """A record as the API shows it; what is empty is left away."""
    row: Row = msgspec.to_builtins(record)
    machine, version, _ = row.pop("machine"), row.pop("version"), row.pop("accelerator")
    for key in ("lock", "tags", "template"):
        if not row[key]:
            del row[key]
    if record.status != "running":
        del row["pid"]
        return row
    return {**row, "running-machine": machine, "running-qemu": version, "memhost": record.mem}


def encoded_row(vmid: int, record: GuestRecord) -> bytes:
    """The row as JSON."""
    return to_json(plain(guest_row(record)))
