"""What Corosync's libraries answer when they can't, as exceptions.

CorosyncError            any error code; ``name`` is Corosync's own, such as CS_ERR_TOO_BIG
├── CorosyncMissing      the libraries are not installed
├── CorosyncGone         corosync does not run, or went away: the handle is dead, open a new one
├── CorosyncBusy         CS_ERR_TRY_AGAIN: flow control or a membership change; the same call may work soon
├── CorosyncNotFound     there is no such key, node or group
└── CorosyncDenied       only root (or who corosync.conf lets) may
"""

from __future__ import annotations

from kvorum.core.errors import KvorumError

NAMES = {
    2: "CS_ERR_LIBRARY",
    3: "CS_ERR_VERSION",
    4: "CS_ERR_INIT",
    5: "CS_ERR_TIMEOUT",
    6: "CS_ERR_TRY_AGAIN",
    7: "CS_ERR_INVALID_PARAM",
    8: "CS_ERR_NO_MEMORY",
    9: "CS_ERR_BAD_HANDLE",
    10: "CS_ERR_BUSY",
    11: "CS_ERR_ACCESS",
    12: "CS_ERR_NOT_EXIST",
    13: "CS_ERR_NAME_TOO_LONG",
    14: "CS_ERR_EXIST",
    15: "CS_ERR_NO_SPACE",
    16: "CS_ERR_INTERRUPT",
    17: "CS_ERR_NAME_NOT_FOUND",
    18: "CS_ERR_NO_RESOURCES",
    19: "CS_ERR_NOT_SUPPORTED",
    20: "CS_ERR_BAD_OPERATION",
    21: "CS_ERR_FAILED_OPERATION",
    22: "CS_ERR_MESSAGE_ERROR",
    23: "CS_ERR_QUEUE_FULL",
    24: "CS_ERR_QUEUE_NOT_AVAILABLE",
    25: "CS_ERR_BAD_FLAGS",
    26: "CS_ERR_TOO_BIG",
    27: "CS_ERR_NO_SECTIONS",
    28: "CS_ERR_CONTEXT_NOT_FOUND",
    30: "CS_ERR_TOO_MANY_GROUPS",
    100: "CS_ERR_SECURITY",
}
"""Corosync's error codes (corotypes.h) by number; 1 is CS_OK."""


class CorosyncError(KvorumError):
    """Corosync refused a call; ``call`` is the library's function, ``name`` Corosync's name of the error."""

    def __init__(self, call: str, name: str, message: str = "") -> None:
        super().__init__(message or f"corosync: {call} answered {name}")
        self.call = call
        self.name = name


class CorosyncMissing(CorosyncError):
    """A library of Corosync's is not installed."""


class CorosyncGone(CorosyncError):
    """Corosync does not run, or went away while we were connected; the handle can't be used any more."""


class CorosyncBusy(CorosyncError):
    """Corosync can't take the call now (flow control, a membership change); it may soon."""


class CorosyncNotFound(CorosyncError):
    """There is no such key, node or group."""


class CorosyncDenied(CorosyncError):
    """Corosync lets only root, and users named in its configuration, do this."""


def error_of(call: str, code: int) -> CorosyncError:
    """The exception for an error code of ``call``."""
    name = NAMES.get(code, f"CS_ERR_{code}")
    match name:
        case "CS_ERR_LIBRARY" | "CS_ERR_BAD_HANDLE":
            return CorosyncGone(
                call,
                name,
                f"corosync does not answer ({call}: {name}); see 'systemctl status corosync'",
            )
        case "CS_ERR_TRY_AGAIN" | "CS_ERR_QUEUE_FULL" | "CS_ERR_TIMEOUT":
            return CorosyncBusy(call, name, f"corosync is busy ({call}: {name}); try again")
        case "CS_ERR_NOT_EXIST" | "CS_ERR_NAME_NOT_FOUND":
            return CorosyncNotFound(call, name)
        case "CS_ERR_ACCESS" | "CS_ERR_SECURITY":
            return CorosyncDenied(call, name, f"corosync refuses {call} ({name}): root is needed")
    return CorosyncError(call, name)
