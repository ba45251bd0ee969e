"""Serves the description of the API: ``/api2/openapi.json``, and ``/api2/html/`` to read it in a browser.

The document is made when methods are declared, not when it is asked for. Anyone may read it: it says what
there is, nothing about this node. The pages need no script and nothing from elsewhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiohttp import hdrs, web

import kvorum.interface
from kvorum.interface import reference

DOCUMENT = "/api2/openapi.json"
PAGES = "/api2/html"
FILE = Path(kvorum.interface.__file__).with_name("openapi.json")

_COMMON = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Server": "kvorum"}
_JSON = {**_COMMON, "Content-Type": "application/json;charset=UTF-8"}
_HTML = {
    **_COMMON,
    "Content-Type": "text/html;charset=UTF-8",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_LINK = re.compile(r'href="(\w+)\.md"')


class Description:
    """The document and its pages; these are made at the first look and kept."""

    def __init__(self) -> None:
        self._made: dict[str, bytes] = {}

    def answers(self, path: str) -> bool:
        """Whether a path is one of the description's."""
        return path in (DOCUMENT, PAGES) or path.startswith(f"{PAGES}/")

    def handle(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer GET and HEAD for a path of the description's."""
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return web.Response(status=405, text="only GET\n", headers={**_COMMON, "Allow": "GET, HEAD"})
        if path == DOCUMENT:
            return web.FileResponse(FILE, headers=_JSON)
        if path == PAGES:
            return web.Response(status=301, headers={**_COMMON, "Location": f"{PAGES}/"})
        page = self._pages().get(path.removeprefix(f"{PAGES}/"))
        if page is None:
            return web.Response(status=404, text="no such page\n", headers=_COMMON)
        return web.Response(body=page, headers=_HTML)

    def _pages(self) -> dict[str, bytes]:
        if not self._made:
            from markdown_it import MarkdownIt

            markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
            for name, text in reference.pages(json.loads(FILE.read_bytes())).items():
                area = "" if name == "README.md" else name.removesuffix(".md")
                body = _LINK.sub(r'href="\1"', markdown.render(text))
                self._made[area] = _page(area, body).encode()
        return self._made


def _page(area: str, body: str) -> str:
    way_back = "" if not area else '<p><a href="./">The API</a></p>\n'
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Kvorum API {area}</title>\n{way_back}{body}</html>\n"
    )
