"""Tables with lines around them: Unicode's where the terminal shows them, else ``+-|``."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

from kvorum.cli.arguments import Presentation


def table(value: object, shown: Presentation) -> str:
    """A list of objects as rows, an object as key and value, a list of plain values a line each."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, dict):
        rows = [[str(key), cell(item)] for key, item in sorted(value.items())]
        return draw(["key", "value"], rows, shown)
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        columns = visible_columns(value, shown.columns)
        return draw(columns, [[cell(row.get(name)) for name in columns] for row in value], shown)
    if isinstance(value, list):
        return "".join(f"{cell(item)}\n" for item in value)
    return f"{cell(value)}\n"


def visible_columns(rows: Sequence[dict[str, object]], declared: Sequence[str]) -> list[str]:
    """The columns in which any row has a value: declared ones first, then others as they come."""
    filled = {name: None for row in rows for name, item in row.items() if item is not None}
    return [n for n in declared if n in filled] + [n for n in filled if n not in declared]


def cell(value: object) -> str:
    """One value as text; what is nested is shown as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return str(value)


def width(text: str) -> int:
    """How many columns of a terminal a text takes (UAX 11; combining marks take none)."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def draw(header: Sequence[str], rows: Sequence[Sequence[str]], shown: Presentation) -> str:
    """Draw a table; a cell with several lines takes several rows; numbers stand on the right."""
    blocks = [[text.splitlines() or [""] for text in row] for row in rows]
    widths = [
        max([width(name) if shown.header else 0, *(width(line) for block in blocks for line in block[i])])
        for i, name in enumerate(header)
    ]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]

    def line(cells: Sequence[str], numbers: bool) -> str:
        padded = []
        for i, text in enumerate(cells):
            blank = " " * (widths[i] - width(text))
            padded.append(blank + text if numbers and right[i] else text + blank)
        if not shown.border:
            return "  ".join(padded).rstrip() + "\n"
        bar = "│" if shown.box else "|"
        return f"{bar} " + f" {bar} ".join(padded) + f" {bar}\n"

    def rule(left: str, middle: str, end: str, stroke: str) -> str:
        if not shown.border:
            return ""
        if not shown.box:
            left = middle = end = "+"
            stroke = "-"
        return left + middle.join(stroke * (w + 2) for w in widths) + end + "\n"

    text = rule("┌", "┬", "┐", "─")
    if shown.header:
        text += line(header, False) + rule("╞", "╪", "╡", "═")
    for index, block in enumerate(blocks):
        if index and shown.border:
            text += rule("├", "┼", "┤", "─")
        for number in range(max(len(lines) for lines in block)):
            text += line([lines[number] if number < len(lines) else "" for lines in block], True)
    return text + rule("└", "┴", "┘", "─")


def _is_number(text: str) -> bool:
    return not text or text.lstrip("-").replace(".", "", 1).isdigit()
