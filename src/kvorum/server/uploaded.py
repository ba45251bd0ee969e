"""A body of ``multipart/form-data`` (RFC 7578) as it arrives: fields, then one file that is never held whole.

The file is the last part, so that it is known where it belongs before its bytes come; what follows it is an
error. A field is short, and so is the list of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import BodyPartReader, MultipartReader, web

from kvorum.core.errors import ParameterError
from kvorum.interface import Pairs, Upload

CHUNK_BYTES = 64 << 10
FIELD_BYTES = 64 << 10
MAX_FIELDS = 32
FILE = "filename"
"""The part that is the file, and the parameter that its name becomes unless it was given for itself."""

_BROKEN = (ValueError, AssertionError, aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError)
"""What aiohttp's reader says of a body that is not what it should be."""


class UploadedFile(Upload):
    """The file of a request whose fields were read. ``timeout_s`` is how long its sender may stand still."""

    def __init__(self, reader: MultipartReader, part: BodyPartReader, timeout_s: float) -> None:
        self._reader = reader
        self._part = part
        self._timeout_s = timeout_s

    @classmethod
    async def begin(cls, request: web.BaseRequest, timeout_s: float) -> tuple[Pairs, UploadedFile]:
        """Read the fields up to the file. Raises ``ParameterError`` for what is no such body."""
        if request.content_type != "multipart/form-data":
            raise ParameterError({}, f"send a file as multipart/form-data, in a part called '{FILE}'")
        pairs: list[tuple[str, str]] = []
        try:
            reader = await request.multipart()
            while len(pairs) < MAX_FIELDS:
                async with asyncio.timeout(timeout_s):
                    part = await reader.next()
                    if part is None:
                        raise ParameterError({FILE: "there is no file: its part must have a file name"})
                    if not isinstance(part, BodyPartReader) or not part.name:
                        raise ParameterError({}, "every part of the body needs a name, and none has parts")
                    if part.filename is not None:
                        if all(name != FILE for name, _ in pairs):
                            pairs.append((FILE, part.filename))
                        return pairs, cls(reader, part, timeout_s)
                    pairs.append((part.name, await _field(part)))
        except _BROKEN as error:
            raise ParameterError({}, f"the body is no whole multipart/form-data: {error}") from None
        except TimeoutError:
            raise _stood_still(timeout_s) from None
        raise ParameterError({}, f"at most {MAX_FIELDS} fields are allowed before the file")

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                async with asyncio.timeout(self._timeout_s):
                    chunk = await self._part.read_chunk(CHUNK_BYTES)
                if not chunk:
                    break
                yield chunk
            async with asyncio.timeout(self._timeout_s):
                after = await self._reader.next()
        except _BROKEN as error:
            raise ParameterError({}, f"the file did not arrive whole: {error}") from None
        except TimeoutError:
            raise _stood_still(self._timeout_s) from None
        if after is not None:
            raise ParameterError({after.name or FILE: "must be sent before the file"} if isinstance(
                after, BodyPartReader
            ) else {}, "the file must be the last part of the body")  # fmt: skip


async def _field(part: BodyPartReader) -> str:
    data = bytearray()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        data += chunk
        if len(data) > FIELD_BYTES:
            raise ParameterError({part.name or "": f"is longer than {FIELD_BYTES} bytes"})
    return data.decode("utf-8")


def _stood_still(timeout_s: float) -> ParameterError:
    return ParameterError({}, f"the body did not go on for {timeout_s:g} s")
