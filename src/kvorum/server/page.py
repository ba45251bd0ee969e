"""Serves the built page: files with a hash in their name for good, ``index.html`` for every other path."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

DIRECTORY = Path(__file__).parent / "page"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Everything comes from this node's own files; the tests in a browser run under this very policy."""

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "kvorum",
}

_HASHED = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@-]*")
_FOREVER = "public, max-age=31536000, immutable"
_NOT_BUILT = "The page is not built yet. The API answers at /api2/json. In the repository: make page\n"


class BuiltPage:
    """The files of one directory."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a GET or HEAD for a file; a path that is no file is a view of the page."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="only GET\n", headers={**_HEADERS, "Allow": "GET, HEAD"})
        path = unquote(request.raw_path.partition("?")[0])
        file = self._file(path)
        if file is None and path.startswith("/assets/"):
            return web.Response(status=404, text="no such file\n", headers=_HEADERS)
        headers = CIMultiDict(_HEADERS)
        hashed = file is not None and _HASHED.search(file.name) is not None
        headers["Cache-Control"] = _FOREVER if hashed else "no-cache"
        file = file or self._directory / "index.html"
        if not file.is_file():
            return web.Response(status=503, text=_NOT_BUILT, headers=headers)
        return web.FileResponse(file, headers=headers)

    def _file(self, path: str) -> Path | None:
        segments = path.strip("/").split("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in segments):
            return None
        file = self._directory.joinpath(*segments)
        return file if file.is_file() else None
