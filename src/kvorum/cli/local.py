"""Commands that are done in the command's own process, since they must answer when pvedaemon does not.

Each is one function of another room that returns the whole text; it is imported only when it is asked for.
In the table such a command's method has the verb ``LOCAL`` and ``module:function`` for a path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VERB = "LOCAL"


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """A command without arguments whose text comes from the function ``module:function``."""

    name: str
    summary: str
    source: str


LOCAL: tuple[LocalCommand, ...] = (
    LocalCommand("pvecm nodes", "Displays the local view of the cluster nodes.", "kvorum.cluster:nodes_text"),
    LocalCommand(
        "pvecm status", "Displays the local view of the cluster status.", "kvorum.cluster:status_text"
    ),
)


def text(source: str) -> str:
    """What a local command prints; raises what its function raises (``KvorumError`` with a sentence)."""
    from importlib import import_module

    module, _, function = source.partition(":")
    make: Callable[[], str] = getattr(import_module(module), function)
    return make()
