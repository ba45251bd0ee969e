"""What ``qm`` prints, in the forms its users' scripts read."""

from __future__ import annotations

from kvorum.cli.arguments import Presentation
from kvorum.cli.client import quote
from kvorum.cli.output.boxes import cell, table
from kvorum.cli.output.formats import encode
from kvorum.cli.output.plain import key_value

_LIST = "%10s %-20s %-10s %-10s %12s %-10s\n"
_MIB, _GIB = 1 << 20, 1 << 30


def listing(value: object, shown: Presentation) -> str:
    """``qm list``: a line for each guest, by VM id; nothing at all when there is none."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    if not rows:
        return ""
    text = _LIST % ("VMID", "NAME", "STATUS", "MEM(MB)", "BOOTDISK(GB)", "PID") if shown.header else ""
    for row in sorted(rows, key=lambda r: int(r["vmid"])):
        text += _LIST % (
            row["vmid"],
            row.get("name") or f"VM {row['vmid']}",
            row.get("status", "unknown"),
            int(row.get("maxmem") or 0) // _MIB,
            f"{float(row.get('maxdisk') or 0) / _GIB:.2f}",
            row.get("pid") or 0,
        )
    return text


def status(value: object, shown: Presentation) -> str:
    """``qm status``: one line; all of it with ``--verbose``."""
    if shown.verbose or not isinstance(value, dict):
        return key_value(value, shown)
    return f"status: {value.get('status', 'unknown')}\n"


def config(value: object, shown: Presentation) -> str:
    """``qm config``: ``key: value``, sorted, without the digest; a description's line breaks are encoded."""
    if not isinstance(value, dict):
        return table(value, shown)
    lines = []
    for key, item in sorted(value.items()):
        if key != "digest" and item is not None:
            text = _encode_description(str(item)) if key == "description" else cell(item)
            lines.append(f"{key}: {text}\n")
    return "".join(lines)


def _encode_description(text: str) -> str:
    """Percent-encode what would break a line-based form: all but printable ASCII, and ``%`` and ``:``."""
    return "".join(c if " " <= c <= "~" and c not in "%:" else quote(c) if c != ":" else "%3A" for c in text)


def agent(value: object, shown: Presentation) -> str:
    """``qm guest …``: what the agent answered, as JSON for eyes; nothing where it had nothing to say."""
    answer = value.get("result") if isinstance(value, dict) and value.keys() == {"result"} else value
    return encode(answer, "json-pretty") if answer not in (None, {}, [], "") else ""


def command_line(value: object, shown: Presentation) -> str:
    """``qm showcmd``: QEMU's command line, as a shell would need it; pretty, an option a line."""
    if not isinstance(value, list):
        return table(value, shown)
    from shlex import join

    lines = [join(line if isinstance(line, list) else [str(line)]) for line in value]
    return (" \\\n  " if any(isinstance(line, list) for line in value) else " ").join(lines) + "\n"


def pending(value: object, shown: Presentation) -> str:
    """``qm pending``: ``cur``, ``new`` and ``del`` lines, as they apply now and after the next start."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    text = ""
    for row in sorted(rows, key=lambda r: str(r.get("key"))):
        key, now, new = row.get("key"), row.get("value"), row.get("pending")
        if row.get("delete"):
            text += f"del {key}: {cell(now)}\n"
        elif new is not None:
            text += (f"cur {key}: {cell(now)}\n" if now is not None else "") + f"new {key}: {cell(new)}\n"
        else:
            text += f"cur {key}: {cell(now)}\n"
    return text


def snapshots(value: object, shown: Presentation) -> str:
    """``qm listsnapshot``: the tree of snapshots, each below the one it was made from."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    children: dict[str, list[dict[str, object]]] = {}
    names = {str(row.get("name")) for row in rows}
    for row in rows:
        parent = str(row.get("parent") or "")
        children.setdefault(parent if parent in names else "", []).append(row)
    text, todo = "", [(row, 0) for row in reversed(children.get("", []))]
    while todo:
        row, depth = todo.pop()
        first_line = (str(row.get("description") or "").splitlines() or [""])[0]
        text += f"{' ' * depth}`-> {row.get('name'):<{max(1, 23 - depth)}} {first_line}".rstrip() + "\n"
        todo += [(child, depth + 1) for child in reversed(children.get(str(row.get("name")), []))]
    return text


def leftovers(value: object, shown: Presentation) -> str:
    """``qm disk leftovers``: a sentence for each thing that was left."""
    rows = value if isinstance(value, list) else []
    return "".join(f"{row['why']}\n" for row in rows if isinstance(row, dict)) or "nothing was left here\n"
