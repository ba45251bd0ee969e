"""What the file system refuses before it asks the group: the errno for each rule of the tree."""

from __future__ import annotations

import errno
from collections.abc import Collection

from pyfuse3 import FUSEError

from kvorum.store.locks import is_lock
from kvorum.store.tree import MAX_ENTRIES, MAX_FILE_BYTES, MAX_TOTAL_BYTES, Tree, guest_id

_SENTENCES = (
    ("no room for", errno.ENOSPC),
    ("bytes; at most", errno.EFBIG),
    ("does not exist", errno.ENOENT),
    ("is a directory", errno.EISDIR),
    ("is a file, not", errno.ENOTDIR),
    ("is not empty", errno.ENOTEMPTY),
)


def errno_of(sentence: str) -> int:
    """The errno for a sentence of ``Tree``'s: what the group refused, since another node was first."""
    return next((number for part, number in _SENTENCES if part in sentence), errno.EEXIST)


def check_size(tree: Tree, old: int, new: int) -> None:
    """Raise EFBIG or ENOSPC unless a file of ``old`` bytes may have ``new``."""
    if new > MAX_FILE_BYTES:
        raise FUSEError(errno.EFBIG)
    if new > old and tree.total_bytes - old + new > MAX_TOTAL_BYTES:
        raise FUSEError(errno.ENOSPC)


def check_new(tree: Tree, reserved: Collection[str], path: str) -> None:
    """Raise EEXIST, ENOENT or ENOSPC unless something new may be made at ``path``."""
    if path in reserved or tree.read(path) is not None or tree.is_directory(path):
        raise FUSEError(errno.EEXIST)
    if not tree.is_directory(path.rpartition("/")[0]):
        raise FUSEError(errno.ENOENT)
    if tree.entries >= MAX_ENTRIES:
        raise FUSEError(errno.ENOSPC)
    check_guest(tree, path, "")


def check_guest(tree: Tree, path: str, source: str) -> None:
    """Raise EEXIST when ``path`` is the configuration of a VM that exists elsewhere than at ``source``."""
    vmid = guest_id(path)
    if vmid is not None and tree.guest_path(vmid) not in (None, path, source):
        raise FUSEError(errno.EEXIST)


def check_rename(tree: Tree, reserved: Collection[str], source: str, target: str, keep: bool) -> None:
    """Raise EACCES, ENOENT, EEXIST, EISDIR or ENOTEMPTY unless ``source`` may be moved to ``target``."""
    if source in reserved or target in reserved:
        raise FUSEError(errno.EACCES)
    if tree.is_directory(source) and (is_lock(source) or is_lock(target)):
        raise FUSEError(errno.EACCES)
    if not tree.is_directory(target.rpartition("/")[0]):
        raise FUSEError(errno.ENOENT)
    if keep and (tree.read(target) is not None or tree.is_directory(target)):
        raise FUSEError(errno.EEXIST)
    if tree.is_directory(source):
        if tree.names(source):
            raise FUSEError(errno.ENOTEMPTY)
        if tree.is_directory(target) or tree.read(target) is not None:
            raise FUSEError(errno.EEXIST)
    elif tree.read(source) is None:
        raise FUSEError(errno.ENOENT)
    elif tree.is_directory(target):
        raise FUSEError(errno.EISDIR)
    check_guest(tree, target, source)
