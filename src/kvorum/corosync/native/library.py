"""Finds Corosync's libraries when they are first needed, and turns error codes into exceptions."""

from __future__ import annotations

from functools import cache
from typing import Any

from kvorum.corosync.errors import CorosyncMissing, error_of
from kvorum.corosync.native._abi import ffi

CS_OK = 1
CS_ERR_TRY_AGAIN = 6
CS_ERR_INTERRUPT = 16
DISPATCH_ONE_NONBLOCKING = 4
TRACK_CURRENT = 1
TRACK_CHANGES = 2

_LIBRARIES = {
    "cpg": ("libcpg.so.4", "libcpg4"),
    "quorum": ("libquorum.so.5", "libquorum5"),
    "votequorum": ("libvotequorum.so.8", "libvotequorum8"),
    "cmap": ("libcmap.so.4", "libcmap4"),
    "cfg": ("libcfg.so.7", "libcfg7"),
}
"""The library of each service and Debian's package of it; the version is that of its interface."""

__all__ = [
    "CS_ERR_INTERRUPT",
    "CS_ERR_TRY_AGAIN",
    "CS_OK",
    "DISPATCH_ONE_NONBLOCKING",
    "TRACK_CHANGES",
    "TRACK_CURRENT",
    "call",
    "ffi",
    "library",
]


@cache
def library(service: str) -> Any:
    """The loaded library of a service; raises ``CorosyncMissing`` when it is not installed."""
    file, package = _LIBRARIES[service]
    try:
        return ffi.dlopen(file)
    except OSError as error:
        raise CorosyncMissing(
            file, "missing", f"{file} can't be loaded ({error}); install it with 'apt install {package}'"
        ) from None


def call(service: str, function: str, *arguments: Any) -> None:
    """Call a function; raises the ``CorosyncError`` for what it answers unless that is CS_OK."""
    code = getattr(library(service), function)(*arguments)
    if code != CS_OK:
        raise error_of(function, code)
