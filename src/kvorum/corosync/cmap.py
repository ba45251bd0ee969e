"""Corosync's configuration map (cmap_overview(3)): read, set, list and follow keys, and its statistics.

Values come as Python's own types: integers, floats, ``str``, ``bytes`` (binary).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from kvorum.corosync.errors import CorosyncError, CorosyncNotFound
from kvorum.corosync.handle import Handle
from kvorum.corosync.native.library import ffi

Value: TypeAlias = int | float | str | bytes

_KEY_MAX_BYTES = 255
_TRACK_DELETE, _TRACK_MODIFY, _TRACK_ADD, _TRACK_PREFIX = 1, 2, 4, 8


class Map(enum.IntEnum):
    """Which map: the configuration, or the statistics (``stats.knet.*`` and others)."""

    CONFIGURATION = 0
    STATISTICS = 1


class Kind(enum.IntEnum):
    """The type of a value in the map."""

    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12


_FORMATS = {
    Kind.INT8: "=b",
    Kind.UINT8: "=B",
    Kind.INT16: "=h",
    Kind.UINT16: "=H",
    Kind.INT32: "=i",
    Kind.UINT32: "=I",
    Kind.INT64: "=q",
    Kind.UINT64: "=Q",
    Kind.FLOAT: "=f",
    Kind.DOUBLE: "=d",
}

KeyChange = Callable[[str, Value | None, Value | None], None]
"""(key, new value, old value); ``None`` where there is none."""


class Cmap(Handle):
    """A connection to one of the maps. Raises ``CorosyncGone`` when corosync does not run."""

    _service = "cmap"
    _prefix = "cmap"

    def __init__(self, which: Map = Map.CONFIGURATION) -> None:
        super().__init__()
        self._open("cmap_initialize_map", int(which))

    def get(self, key: str) -> Value:
        """The value of a key; raises ``CorosyncNotFound``."""
        size, kind = ffi.new("size_t *"), ffi.new("int *")
        for _ in range(8):  # the value may grow between the two calls; not forever
            self._call("cmap_get", key.encode(), ffi.NULL, size, kind)
            room = size[0]
            buffer = ffi.new("char[]", max(room, 1))
            try:
                self._call("cmap_get", key.encode(), buffer, size, kind)
            except CorosyncError as error:
                if error.name == "CS_ERR_INVALID_PARAM" and size[0] > room:
                    continue
                raise
            return _value(Kind(kind[0]), bytes(ffi.buffer(buffer, size[0])))
        raise CorosyncError(
            "cmap_get", "CS_ERR_INVALID_PARAM", f"corosync's key '{key}' changes too fast to read"
        )

    def text(self, key: str, default: str = "") -> str:
        """The value of a key as text, or ``default`` when there is no such key."""
        try:
            value = self.get(key)
        except CorosyncNotFound:
            return default
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def set(self, key: str, value: Value, kind: Kind) -> None:
        """Set a key to a value of this kind."""
        if kind is Kind.STRING:
            data = str(value).encode()
        elif kind is Kind.BINARY:
            data = value if isinstance(value, bytes) else str(value).encode()
        else:
            data = struct.pack(_FORMATS[kind], value)
        self._call("cmap_set", key.encode(), ffi.from_buffer(data), len(data), int(kind))

    def delete(self, key: str) -> None:
        """Remove a key; raises ``CorosyncNotFound``."""
        self._call("cmap_delete", key.encode())

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with ``prefix``."""
        iterator = ffi.new("uint64_t *")
        self._call("cmap_iter_init", prefix.encode() if prefix else ffi.NULL, iterator)
        name, size, kind = ffi.new(f"char[{_KEY_MAX_BYTES + 1}]"), ffi.new("size_t *"), ffi.new("int *")
        try:
            while True:
                try:
                    self._call("cmap_iter_next", iterator[0], name, size, kind)
                except CorosyncError as error:
                    if error.name == "CS_ERR_NO_SECTIONS":
                        return
                    raise
                yield ffi.string(name).decode()
        finally:
            if not self.closed:
                self._call("cmap_iter_finalize", iterator[0])

    def items(self, prefix: str = "") -> dict[str, Value]:
        """All keys under a prefix with their values; keys that vanish meanwhile are left out."""
        result: dict[str, Value] = {}
        for key in list(self.keys(prefix)):
            try:
                result[key] = self.get(key)
            except CorosyncNotFound:
                continue
        return result

    def track(self, key: str, change: KeyChange, *, prefix: bool = False) -> None:
        """Call ``change`` at every later addition, change and removal of a key, or of all under a prefix."""

        def notified(_h: int, _track: int, _event: int, name: Any, new: Any, old: Any, _user: Any) -> None:
            text, now, before = ffi.string(name).decode(), _notified(new), _notified(old)
            self._queue(lambda: change(text, now, before))

        callback = ffi.callback("cmap_notify_fn_t", notified)
        self._keep.append(callback)
        kinds = _TRACK_ADD | _TRACK_DELETE | _TRACK_MODIFY | (_TRACK_PREFIX if prefix else 0)
        name = key.encode() if key else ffi.NULL
        self._call("cmap_track_add", name, kinds, callback, ffi.NULL, ffi.new("uint64_t *"))


def _notified(value: Any) -> Value | None:
    if value.type not in Kind.__members__.values() or value.data == ffi.NULL or not value.len:
        return None
    return _value(Kind(value.type), bytes(ffi.buffer(value.data, value.len)))


def _value(kind: Kind, data: bytes) -> Value:
    if kind is Kind.STRING:
        return data.rstrip(b"\0").decode("utf-8", "replace")
    if kind is Kind.BINARY:
        return data
    (number,) = struct.unpack_from(_FORMATS[kind], data)
    assert isinstance(number, int | float)
    return number
