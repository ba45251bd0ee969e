"""Which paths the store takes."""

from __future__ import annotations

from collections.abc import Sequence

from kvorum.core.errors import ParameterError
from kvorum.store.face import Operation, Rename

NAME_BYTES = 255
PATH_BYTES = 4096
DEPTH = 64
LEASE_SECONDS_MAX = 60.0


def check_path(path: str) -> None:
    """Raise ``ParameterError`` unless ``path`` is relative, clean and storable."""
    parts = path.split("/")
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise ParameterError({"path": f"{path[:80]!r} is no valid UTF-8"}) from error
    if not path or size > PATH_BYTES:
        raise ParameterError({"path": f"'{path[:80]}' is empty or longer than {PATH_BYTES} bytes"})
    if len(parts) > DEPTH:
        raise ParameterError({"path": f"'{path[:80]}…' is more than {DEPTH} directories deep"})
    if "" in parts or "." in parts or ".." in parts or "\0" in path:
        raise ParameterError({"path": f"'{path}' is no path of the store: write it as a/b/c"})
    if size > NAME_BYTES:  # else no part can be
        for part in parts:
            if len(part.encode()) > NAME_BYTES:
                raise ParameterError({"path": f"'{part[:80]}…' is longer than {NAME_BYTES} bytes"})


def check_operations(operations: Sequence[Operation]) -> None:
    """Raise ``ParameterError`` when an operation names a path the store can't take."""
    for operation in operations:
        for path in (
            (operation.source, operation.target) if isinstance(operation, Rename) else (operation.path,)
        ):
            check_path(path)


def is_private(path: str) -> bool:
    """Whether only root may see it: ``priv`` at the top and ``nodes/*/priv``, and what is in them."""
    parts = path.split("/")
    return parts[0] == "priv" or (len(parts) > 2 and parts[0] == "nodes" and parts[2] == "priv")


def check_lease(name: str, owner: str, seconds: float) -> None:
    """Check what a lease is asked for with; raises ``ParameterError`` naming what is wrong."""
    errors = {
        field: f"'{value}' is not 1 to 200 printable characters"
        for field, value in (("name", name), ("owner", owner))
        if not 1 <= len(value) <= 200 or not value.isprintable()
    }
    if not 0 < seconds <= LEASE_SECONDS_MAX:
        errors["seconds"] = f"{seconds:g} is not between 0 and {LEASE_SECONDS_MAX:g}"
    if errors:
        raise ParameterError(errors)
