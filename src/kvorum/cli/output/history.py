"""What ``pvecm config`` prints."""

from __future__ import annotations

import time

from kvorum.cli.arguments import Presentation
from kvorum.cli.output.boxes import table


def rows(value: object, shown: Presentation) -> str:
    """``pvecm config history``: a line for each revision, the newest first; the size of no file is a dash."""
    found = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    if not found:
        return table(value, shown) if not isinstance(value, list) else ""
    cells = [["REVISION", "UNTIL", "SIZE", "NODE", "CHANGED BY"]]
    for row in found:
        until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(row.get("until") or 0)))
        size = row.get("size")
        cells.append(
            [
                str(row.get("revision")),
                until,
                "-" if size is None else str(size),
                str(row.get("node") or "-"),
                str(row.get("who") or "-"),
            ]
        )
    width = max(len(row[3]) for row in cells)
    return "".join(
        f"{number:>8} {until:<19} {size:>8} {node:<{width}} {who}\n"
        for number, until, size, node, who in cells[0 if shown.header else 1 :]
    )


def content(value: object, shown: Presentation) -> str:
    """``pvecm config show``: the content as it was."""
    return str(value["content"]) if isinstance(value, dict) else table(value, shown)


def diff(value: object, shown: Presentation) -> str:
    """``pvecm config diff``: a unified diff; nothing when nothing has changed since."""
    return str(value["diff"]) if isinstance(value, dict) else table(value, shown)
