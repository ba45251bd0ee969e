"""What /etc/network/interfaces includes (``source``, ``source-directory``): read and shown, never changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kvorum.core.errors import ParameterError
from kvorum.node.host_files import HostFiles
from kvorum.node.interfaces import Interfaces

FILES_MAX = 200
DEPTH_MAX = 5
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""What ``source-directory`` takes of a folder: interfaces(5)."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """An included file by its path below /etc, and what it says."""

    path: str
    file: Interfaces


def sourced(files: HostFiles, main: Interfaces) -> list[Sourced]:
    """The included files below /etc, in order, those that they include too. Reads the disk.

    Included are at most ``FILES_MAX`` files, ``DEPTH_MAX`` deep; what lies outside of /etc is left out.
    """
    found: dict[str, Sourced] = {}
    _include(files, main, found, DEPTH_MAX)
    return list(found.values())


def refuse_sourced(included: list[Sourced], name: str) -> None:
    """Refuse to change an interface of an included file. Raises ``ParameterError`` with where to do it."""
    for each in included:
        if name in each.file.names():
            raise ParameterError(
                {
                    "iface": f"'{name}' is configured in /etc/{each.path}, which is only read here: "
                    "edit that file"
                }
            )


def _include(files: HostFiles, file: Interfaces, found: dict[str, Sourced], depth: int) -> None:
    if not depth:
        return
    for block in file.blocks:
        if block.word not in ("source", "source-directory") or not block.words:
            continue
        for path in _matching(files.etc, block.words[0], folder=block.word == "source-directory"):
            if path in found or len(found) >= FILES_MAX:
                continue
            found[path] = Sourced(path, Interfaces.parse(files.read(path)))
            _include(files, found[path].file, found, depth - 1)


def _matching(etc: Path, pattern: str, *, folder: bool) -> list[str]:
    """The files of a pattern, relative to ``etc``; a pattern without a slash before it means /etc/network."""
    if pattern.startswith("/"):
        if not pattern.startswith("/etc/"):
            return []
        pattern = pattern.removeprefix("/etc/")
    else:
        pattern = f"network/{pattern}"
    if ".." in pattern.split("/"):
        return []
    try:
        paths = sorted(etc.glob(f"{pattern.rstrip('/')}/*" if folder else pattern))
    except (OSError, ValueError):
        return []
    return [
        str(path.relative_to(etc))
        for path in paths
        if path.is_file() and (not folder or _PLAIN_NAME.fullmatch(path.name))
    ]
