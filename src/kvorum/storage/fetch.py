"""Fetches a file by HTTP: what a server says of it, and its bytes as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from kvorum.storage.errors import StorageError

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 60.0
MAX_REDIRECTS = 5
CHUNK_BYTES = 64 << 10


class Offer(NamedTuple):
    """What a server offers under a URL; ``size`` in bytes, -1 when it does not say."""

    name: str
    type: str
    size: int


async def look(url: str, verify: bool, proxy: str = "") -> Offer:
    """What is to be had; raises ``StorageError``."""
    async with _asked("HEAD", url, verify, proxy) as answer:
        return _offer(answer)


@asynccontextmanager
async def fetching(
    url: str, verify: bool, proxy: str = "", progress: Callable[[float], None] = lambda fraction: None
) -> AsyncIterator[tuple[Offer, AsyncIterator[bytes]]]:
    """The offer and the file's bytes; ``progress`` is told the share, 0 to 1, where the length is known.

    Raises ``StorageError``.
    """
    async with _asked("GET", url, verify, proxy) as answer:
        offer = _offer(answer)

        async def chunks() -> AsyncIterator[bytes]:
            length = 0
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                length += len(chunk)
                if offer.size > 0:
                    progress(min(1.0, length / offer.size))
                yield chunk

        yield offer, chunks()


@asynccontextmanager
async def _asked(verb: str, url: str, verify: bool, proxy: str) -> AsyncIterator[aiohttp.ClientResponse]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                verb,
                url,
                ssl=verify,
                proxy=proxy or None,
                max_redirects=MAX_REDIRECTS,
                headers={"Accept-Encoding": "identity"},
            ) as answer,
        ):
            if answer.status != 200:
                raise StorageError(f"'{url}' answers {answer.status} {answer.reason}")
            yield answer
    except TimeoutError:
        raise StorageError(f"'{url}' does not answer within {SILENCE_TIMEOUT_S:g} s") from None
    except aiohttp.InvalidURL:
        raise StorageError(f"'{url}' is no URL") from None
    except aiohttp.TooManyRedirects:
        raise StorageError(f"'{url}' leads on more than {MAX_REDIRECTS} times") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise StorageError(f"'{url}' can't be fetched: {error}") from None


def _offer(answer: aiohttp.ClientResponse) -> Offer:
    disposition = answer.content_disposition
    name = disposition.filename if disposition and disposition.filename else ""
    size = answer.headers.get("Content-Length", "")
    return Offer(
        name or unquote(urlsplit(str(answer.url)).path.rpartition("/")[2]),
        answer.content_type,
        int(size) if size.isdigit() else -1,
    )
