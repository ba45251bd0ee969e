"""Which paths the store takes."""

from __future__ import annotations

from collections.abc import Sequence

from kvorum.core.errors import ParameterError
from kvorum.store.face import Operation, Rename

NAME_BYTES = 255
PATH_BYTES = 4096
DEPTH = 64


def check_path(path: str) -> None:
    """Raise ``ParameterError`` unless ``path`` is relative, clean and storable."""
    parts = path.split("/")
    if not path or len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES:
        raise ParameterError({"path": f"'{path[:80]}' is empty or longer than {PATH_BYTES} bytes"})
    if len(parts) > DEPTH:
        raise ParameterError({"path": f"'{path[:80]}…' is more than {DEPTH} directories deep"})
    for part in parts:
        if part in ("", ".", "..") or "\0" in part:
            raise ParameterError({"path": f"'{path}' is no path of the store: write it as a/b/c"})
        try:
            too_long = len(part.encode()) > NAME_BYTES
        except UnicodeEncodeError as error:
            raise ParameterError({"path": f"{path!r} is no valid UTF-8"}) from error
        if too_long:
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
