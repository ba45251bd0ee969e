"""What a request carries to say who sends it: read from its headers, verified elsewhere."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import hdrs, web

from kvorum.access import Credentials
from kvorum.interface import ROOT, Identity

COOKIE = "PVEAuthCookie"
CSRF_HEADER = "CSRFPreventionToken"
FORWARDED_FOR = "X-Forwarded-For"
"""Set by pveproxy on all it hands to pvedaemon: the client's address."""

_NONE = Credentials()


def read(headers: Mapping[str, str]) -> Credentials:
    """Read the credentials; a header goes before the cookie. Texts may be percent-encoded or raw."""
    authorization = headers.get(hdrs.AUTHORIZATION)
    if authorization:
        kind, _, text = authorization.partition("=")
        match kind:
            case "PVEAPIToken":
                return Credentials(token=_raw(text))
            case "PVEAuthCookie":
                return Credentials(ticket=_raw(text), csrf=headers.get(CSRF_HEADER, ""))
            case "KvorumNode":
                return Credentials(node_ticket=_raw(text))
            case _:
                pass  # some other scheme, of a proxy in between: not ours
    cookies = headers.get(hdrs.COOKIE)
    if cookies:
        for part in cookies.split(";"):
            name, _, text = part.strip().partition("=")
            if name == COOKIE and text:
                return Credentials(ticket=_raw(text.strip('"')), csrf=headers.get(CSRF_HEADER, ""))
    return _NONE


def _raw(text: str) -> str:
    """Undo percent-encoding; no ticket or token contains a bare per cent sign."""
    return unquote(text) if "%" in text else text


def command_identity(request: web.BaseRequest) -> Identity | None:
    """``root@pam`` for a command on pvedaemon's own socket, by the kernel's word (unix(7), SO_PEERCRED).

    That is a peer that runs as root, or as the user this daemon itself runs as, and that is not pveproxy
    speaking for somebody: what came over the network is known by its ``X-Forwarded-For``.
    """
    if FORWARDED_FOR in request.headers or request.transport is None:
        return None
    peer = request.transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX:
        return None
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return Identity(user=ROOT, address="local") if uid in (0, os.getuid()) else None
