"""Answers as the known clients read them: exact content type, the error's sentence in the reason phrase."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.interface import Download, ViewerFile, success, to_json

log = logging.getLogger(__name__)

JSON = "application/json;charset=UTF-8"
"""Compared as a text by clients: no blank, upper case."""

PNG = "png"
"""The flavour of answers that are pictures."""

SPICE = "spiceconfig"
"""The flavour of answers that are files of a remote viewer."""

FORMATS = frozenset({"json", "extjs", PNG, SPICE})

TEXT = "text"
"""The flavour of answers that are nothing but a text; only for paths outside of /api2."""

REASON_BYTES = 1000

_HEADERS = CIMultiDict(
    {
        "Content-Type": JSON,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Server": "kvorum",
    }
)


def reason(text: str) -> str:
    """A sentence as a reason phrase: its first line, without control characters, at most 1,000 bytes."""
    lines = text.strip().splitlines()
    line = "".join(c if c.isprintable() else " " for c in lines[0]) if lines else "error"
    return line.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")


def reply(body: Mapping[str, object], status: int = 200, text: str = "") -> web.Response:
    """An answer with a JSON body; ``text`` is the sentence for its reason phrase."""
    phrase = reason(text) if text else "OK"
    return web.Response(body=to_json(body), status=status, reason=phrase, headers=_HEADERS.copy())


def result(value: object, flavour: str) -> web.StreamResponse:
    """The answer of a method that went well; ``flavour`` is one of ``FORMATS``, or ``text``."""
    if isinstance(value, Download) and (value.shown is None or flavour == PNG):
        return _file(value)
    if flavour == SPICE and isinstance(value, ViewerFile):
        return _viewer_file(value)
    if flavour == TEXT:
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        headers = _HEADERS.copy()
        headers.update(kind)
        return web.Response(text=str(value), headers=headers)
    body = success(value)
    if flavour == "extjs":
        return reply({"success": 1, **body})
    return reply(body)


def _viewer_file(found: ViewerFile[Any]) -> web.Response:
    """A group of a key file (GLib's manual, "Key-value file parser"): one line for each key."""
    lines = "".join(f"{key}={value}\n" for key, value in found.shown.items())
    headers = _HEADERS.copy()
    headers["Content-Type"] = "application/x-virt-viewer; charset=UTF-8"
    headers["Content-Disposition"] = f'attachment; filename="{_safe(found.name)}"'
    return web.Response(text=f"[virt-viewer]\n{lines}", headers=headers)


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)


def _file(found: Download[object]) -> web.FileResponse:
    headers = _HEADERS.copy()
    headers["Content-Type"] = found.content_type
    disposition = "inline" if found.content_type.startswith("image/") else "attachment"
    headers["Content-Disposition"] = f'{disposition}; filename="{_safe(found.name)}"'
    return web.FileResponse(Path(found.path), headers=headers)


def failure(error: KvorumError, flavour: str) -> web.Response:
    """The answer to a request that could not be done."""
    errors = error.errors if isinstance(error, ParameterError) else {}
    message = str(error.args[0]) if isinstance(error, ParameterError) else str(error)
    body: dict[str, object] = {"data": None, "message": f"{message}\n"}
    if errors:
        body["errors"] = errors
    if flavour == "extjs":
        return reply({"success": 0, "status": error.code, **body})
    return reply(body, error.code, message)


def unexpected(error: Exception, request: str, flavour: str) -> web.Response:
    """The answer when a method died of an error nobody foresaw; the log has the rest under the same id."""
    incident = secrets.token_hex(4)
    log.error("incident %s in %s", incident, request, exc_info=error)
    sentence = f"internal error, incident {incident}: see pvedaemon's and pveproxy's log on this node"
    body: dict[str, object] = {"data": None, "message": f"{sentence}\n", "incident": incident}
    if flavour == "extjs":
        return reply({"success": 0, "status": 500, **body})
    return reply(body, 500, sentence)
