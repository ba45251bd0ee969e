"""``pvecm link status``: links and clocks as the nodes see them, then what is to be warned of."""

from __future__ import annotations

from collections.abc import Sequence

from kvorum.cli.arguments import Presentation


def status(value: object, shown: Presentation) -> str:
    """Two tables and the warnings' sentences."""
    links = [
        [
            *(str(row.get(key)) for key in ("node", "to", "link", "address", "to_address")),
            "connected" if row.get("connected") else "down",
            f"{_number(row, 'latency_us') / 1000:.2f} ms" if row.get("connected") else "-",
            "-" if row.get("loss_percent") is None else f"{_number(row, 'loss_percent'):g} %",
            str(row.get("downs")),
        ]
        for row in _rows(value, "links")
    ]
    clocks = [
        [
            str(row.get("node")),
            str(row.get("to")),
            f"{_number(row, 'ahead_ms'):+.1f} ms",
            f"{_number(row, 'unsure_ms'):.1f} ms",
        ]
        for row in _rows(value, "clocks")
    ]
    parts = []
    if links:
        head = ["Node", "To", "Link", "Address", "To address", "State", "Latency", "Loss", "Downs"]
        parts.append(_columns([head, *links]))
    if clocks:
        parts.append(_columns([["Node", "To", "Clock ahead", "Unsure"], *clocks]))
    said = [str(row.get("sentence")) for row in _rows(value, "warnings")]
    silent = value.get("silent") if isinstance(value, dict) else None
    said += [f"{node} has not told of its links and clocks yet." for node in silent or ()]
    if said:
        parts.append("".join(f"{line}\n" for line in said))
    return "\n".join(parts) or "This node is in no cluster, or nothing is known of links yet.\n"


def _rows(value: object, name: str) -> list[dict[str, object]]:
    rows = value.get(name) if isinstance(value, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _number(row: dict[str, object], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )
