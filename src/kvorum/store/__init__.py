"""The replicated configuration store, and its face as a file system at /etc/pve."""

from kvorum.store.client import StoreClient
from kvorum.store.face import (
    Change,
    Delete,
    Expect,
    File,
    MakeDirectory,
    Member,
    Membership,
    Operation,
    Rename,
    Store,
    Touch,
    Write,
    expect_digest,
)
from kvorum.store.names import is_private
from kvorum.store.stream import Revision

__all__ = [
    "Change",
    "Delete",
    "Expect",
    "File",
    "MakeDirectory",
    "Member",
    "Membership",
    "Operation",
    "Rename",
    "Revision",
    "Store",
    "StoreClient",
    "Touch",
    "Write",
    "expect_digest",
    "is_private",
]
