"""What ``pvesm`` prints."""

from __future__ import annotations

import sys

from kvorum.cli.arguments import Presentation
from kvorum.cli.output.boxes import table


def status(value: object, shown: Presentation) -> str:
    """``pvesm status``: a line for each storage, sizes in KiB; why one can't be used goes to stderr."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    if not rows:
        return ""
    cells = [["Name", "Type", "Status", "Total (KiB)", "Used (KiB)", "Available (KiB)", "%"]]
    for row in sorted(rows, key=lambda r: str(r.get("storage"))):
        total, used, free = (int(row.get(key) or 0) for key in ("total", "used", "avail"))
        state = "disabled" if not row.get("enabled", 1) else "active" if row.get("active") else "inactive"
        share = f"{used * 100 / total:.2f}%" if total else "0.00%" if state == "active" else "N/A"
        sizes = [str(n >> 10) for n in (total, used, free)] if state != "disabled" else ["N/A"] * 3
        cells.append([str(row.get("storage")), str(row.get("type")), state, *sizes, share])
        if state == "inactive" and row.get("error"):
            sys.stderr.write(f"{row['error']}\n")
    return _columns(cells[0 if shown.header else 1 :], left=2)


def content(value: object, shown: Presentation) -> str:
    """``pvesm list``: a line for each volume, sizes in bytes."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    if not rows:
        return table(value, shown) if not isinstance(value, list) else ""
    cells = [["Volid", "Format", "Type", "Size", "VMID"]]
    for row in sorted(rows, key=lambda r: str(r.get("volid"))):
        cells.append([str(row.get(key, "") or "") for key in ("volid", "format", "content", "size", "vmid")])
    return _columns(cells[0 if shown.header else 1 :], left=3)


def _columns(rows: list[list[str]], left: int) -> str:
    """Columns as wide as their widest cell, the first ``left`` of them left-aligned, others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        " ".join(
            t.ljust(w) if i < left else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)
