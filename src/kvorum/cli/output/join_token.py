"""A new join token: the command for the other node, and the token as QR for a terminal."""

from __future__ import annotations

import time

from kvorum.cli.arguments import Presentation


def made(value: object, shown: Presentation) -> str:
    """The token once, with what to do with it; the QR only where the terminal can show blocks."""
    assert isinstance(value, dict), "the method says so"
    until = time.strftime("%H:%M", time.localtime(int(value["expires"])))
    lines = [
        f"Join token {value['id']}, for one node, good until {until}. On that node:",
        "",
        f"  pvecm add {value['hostname']} --token {value['token']}",
        "",
    ]
    if shown.box:
        lines.append(_qr(str(value["token"])))
    return "\n".join(lines)


def _qr(text: str) -> str:
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, compact=True, border=2)
    return drawn.getvalue()
