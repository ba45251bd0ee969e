"""Commands that are done in the command's own process, since they must answer when pvedaemon does not.

Each is one function that returns the whole text; it is imported only when it is asked for.
In the table such a command's method has the verb ``LOCAL`` and ``module:function`` for a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

VERB = "LOCAL"


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """A command whose text comes from the function ``module:function``, which takes its ``parameters``."""

    name: str
    summary: str
    source: str
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """As in the table of commands."""


LOCAL: tuple[LocalCommand, ...] = (
    LocalCommand("pvecm nodes", "Displays the local view of the cluster nodes.", "kvorum.cluster:nodes_text"),
    LocalCommand(
        "pvecm status", "Displays the local view of the cluster status.", "kvorum.cluster:status_text"
    ),
    LocalCommand(
        "qm wait",
        "Waits until the virtual machine is stopped.",
        "kvorum.cli.wait:until_stopped",
        ("vmid",),
        {
            "vmid": {"type": "integer", "required": True, "description": "The virtual machine's id."},
            "timeout": {"type": "integer", "description": "How long to wait, in seconds; for ever."},
        },
    ),
)


def text(source: str, parameters: Mapping[str, object]) -> str:
    """What a local command prints; raises what its function raises (``KvorumError`` with a sentence)."""
    from importlib import import_module

    module, _, function = source.partition(":")
    make: Callable[..., str] = getattr(import_module(module), function)
    made = make(**parameters).rstrip("\n")
    return f"{made}\n" if made else ""
