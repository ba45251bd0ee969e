"""What ``pveum`` prints in a form of its own."""

from __future__ import annotations

from kvorum.cli.arguments import Presentation
from kvorum.cli.output.boxes import draw


def permissions(value: object, shown: Presentation) -> str:
    """The paths of ``GET /access/permissions`` with their privileges, a line each."""
    if not isinstance(value, dict) or not value:
        return ""
    rows = [
        [path, "\n".join(f"{name} (*)" if stays else name for name, stays in sorted(held.items()))]
        for path, held in sorted(value.items())
        if isinstance(held, dict)
    ]
    table = draw(["ACL path", "Permissions"], rows, shown)
    return f"{table}Permissions marked with '(*)' have the 'propagate' flag set.\n"
