"""The kinds of storage there are, by the names that storage.cfg gives them.

A further kind is one module more, and its class here: what it can do, which settings it has and what it may
hold are told by the class itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvorum.storage.btrfs import BtrfsStorage
from kvorum.storage.directory import DirectoryStorage
from kvorum.storage.kind import StorageKind
from kvorum.storage.zfspool import ZfsPoolStorage

KINDS: Mapping[str, type[StorageKind]] = {
    kind.type: kind for kind in (BtrfsStorage, DirectoryStorage, ZfsPoolStorage)
}
