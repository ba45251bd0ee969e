"""Files that are sent along: never held whole, also on their way to another node, and refused early."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.streams import StreamReader

MIB = 1 << 20
LENGTH = 48 * MIB
MOST_BUFFERED = 2 * MIB
"""Bytes that all readers of both nodes may hold together; the file is 24 times as long."""


@pytest.fixture
def buffered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most bytes that any one stream of this process has held (both nodes are in it)."""
    most = [0]
    plain = StreamReader.feed_data

    def feed(self: Any, data: bytes, *rest: Any) -> Any:
        told = plain(self, data, *rest)
        most[0] = max(most[0], self._size)
        return told

    monkeypatch.setattr(StreamReader, "feed_data", feed)
    return most


async def big(digest: Any) -> AsyncIterator[bytes]:
    block = bytes(range(256)) * 1024
    for _ in range(LENGTH // len(block)):
        digest.update(block)
        yield block


def form(file: Any, name: str = "x.iso", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    for key, value in fields.items():
        made.add_field(key, value)
    made.add_field("filename", file, filename=name, content_type="application/octet-stream")
    return made


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_a_big_file_passes_in_small_pieces(cluster: Any, buffered: list[int], node: str) -> None:
    digest = hashlib.sha256()
    url = f"{cluster.n1.url}/api2/json/nodes/{node}/receive"
    headers = await cluster.login()
    async with cluster.client.post(url, data=form(big(digest), content="iso"), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        data = (await answer.json())["data"]
    assert data == {
        "here": node, "name": "x.iso", "content": "iso", "length": LENGTH, "sha256": digest.hexdigest(),
    }  # fmt: skip
    assert 0 < buffered[0] < MOST_BUFFERED


async def refused(
    cluster: Any, data: Any, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    url = f"{cluster.n1.url}/api2/json/nodes/n2/receive"
    headers = await cluster.login() if headers is None else headers
    async with cluster.client.post(url, data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_what_is_no_upload_is_refused_with_a_sentence(cluster: Any) -> None:
    status, body = await refused(cluster, {"filename": "x.iso"})
    assert status == 400 and "multipart/form-data" in body["message"]
    fields = aiohttp.FormData({"content": "iso"})
    fields.add_field("more", "1", content_type="text/plain")
    status, body = await refused(cluster, fields)
    assert status == 400 and "no file" in body["errors"]["filename"]


async def test_a_field_after_the_file_is_named(cluster: Any) -> None:
    made = form(b"x")
    made.add_field("content", "iso")
    status, body = await refused(cluster, made)
    assert status == 400 and body["errors"] == {"content": "must be sent before the file"}


async def test_a_long_field_and_many_fields_are_refused(cluster: Any) -> None:
    status, body = await refused(cluster, form(b"x", content="c" * (65 << 10)))
    assert status == 400 and "longer than" in body["errors"]["content"]
    status, body = await refused(cluster, form(b"x", **{f"f{i}": "1" for i in range(40)}))
    assert status == 400 and "at most 32 fields" in body["message"]


async def test_a_body_that_ends_in_the_middle_is_refused(cluster: Any) -> None:
    headers = await cluster.login() | {"Content-Type": "multipart/form-data; boundary=b"}
    begun = b'--b\r\nContent-Disposition: form-data; name="filename"; filename="x.iso"\r\n\r\nhalf of it'
    status, body = await refused(cluster, begun, headers)
    assert status == 400, body


async def test_who_may_not_is_answered_before_the_file_is_sent(cluster: Any) -> None:
    begun = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        begun.set()
        yield b"x"
        await asyncio.get_running_loop().create_future()

    status, body = await refused(cluster, form(never_ends()), {})
    assert status == 401 and begun.is_set(), body


async def test_only_a_page_needs_the_csrf_token(cluster: Any) -> None:
    headers = await cluster.login()
    del headers["CSRFPreventionToken"]
    status, _ = await refused(cluster, form(b"x"), headers)
    assert status == 200
    status, body = await refused(cluster, form(b"x"), headers | {"Origin": "https://elsewhere.example"})
    assert status == 401 and "csrf" in body["message"]
