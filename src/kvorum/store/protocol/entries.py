"""The history as one replica has it: the tree, its version, and which requests made it.

Pure. Every member that applies the same changes in the same order has the same entries; ``root`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from kvorum.core.errors import Conflict, ParameterError
from kvorum.store.face import Change as Seen
from kvorum.store.face import File
from kvorum.store.names import check_operations
from kvorum.store.protocol import messages, requests
from kvorum.store.protocol.checksums import Checksums
from kvorum.store.protocol.messages import Origin, View
from kvorum.store.protocol.transfer import Fetched
from kvorum.store.tree import Tree


@dataclass(slots=True)
class Stored:
    """What a replica has on disk when it starts."""

    tree: Tree = field(default_factory=Tree)
    version: int = 0
    last_view: int = 0
    view: View = field(default_factory=View)
    origins: dict[str, Origin] = field(default_factory=dict)


class Applied(msgspec.Struct, frozen=True):
    """One change that took place: what is at each path now, and what was there before."""

    changes: tuple[Seen, ...]
    before: tuple[File | None, ...]


class Refused(msgspec.Struct, frozen=True):
    """One change that met another: nothing happened; ``text`` is the sentence."""

    text: str


class Entries:
    """Tree, version, origins and checksums, kept in step with each other."""

    def __init__(self, stored: Stored) -> None:
        self.tree = stored.tree
        self.version = stored.version
        self.last_view = stored.last_view
        """The number of the view in which the last entry was made."""
        self.origins = dict(stored.origins)
        self.checksums = Checksums(self.tree)

    @property
    def root(self) -> bytes:
        """The whole tree's checksum."""
        return self.checksums.root

    def knows(self, change: messages.Change) -> bool:
        """Whether the request was judged already."""
        known = self.origins.get(change.origin)
        return known is not None and change.seq <= known.seq

    def apply(self, change: messages.Change) -> Applied | Refused:
        """Carry out a request as the next version, or refuse it; either way it is known from now on."""
        try:
            check_operations(change.operations)
            changes, before = self.tree.apply(change.operations, change.expect, self.version + 1, change.time)
        except (Conflict, ParameterError) as conflict:
            self.origins = requests.note_refused(self.origins, change)
            return Refused(str(conflict))
        self.version += 1
        self.checksums.update(changes)
        self.origins = requests.note_applied(self.origins, change, self.version)
        return Applied(changes, before)

    def take_over(self, lead: messages.State, fetched: Fetched | None) -> Applied:
        """Become what the leader is, by the difference that was ``fetched`` (``None``: the trees agree).

        Raises ``AssertionError`` when the tree is not the leader's afterwards.
        """
        changes, before = fetched.patch(self.tree, lead.version) if fetched else ((), ())
        self.checksums.update(changes)
        if changes and self.root != lead.root:
            raise AssertionError(f"the tree is not that of {lead.name} after fetching its difference")
        self.version, self.last_view, self.origins = lead.version, lead.last_view, dict(lead.applied)
        return Applied(changes, before)
