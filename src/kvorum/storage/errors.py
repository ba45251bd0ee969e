"""What can go wrong with storages and volumes.

KvorumError
└── StorageError            500, a storage or a volume could not do what was asked
    ├── StorageConfigError  500, storage.cfg says something wrong; names file, line, key, what is allowed
    ├── NotADiskImage       500, a file that was to be imported is no disk image, or reaches outside itself
    └── NoSpace             500, the storage has no room
"""

from __future__ import annotations

from kvorum.core.errors import KvorumError


class StorageError(KvorumError):
    """A storage or a volume could not do what was asked; the sentence names it."""


class StorageConfigError(StorageError):
    """storage.cfg holds something wrong: ``storage.cfg line N: key 'x': …; allowed: …``."""


class NotADiskImage(StorageError):
    """The file is no disk image, or one that refers to other files; nothing was written."""


class NoSpace(StorageError):
    """The storage has no room for what was asked."""
