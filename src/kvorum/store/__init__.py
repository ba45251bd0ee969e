"""The replicated configuration store, and its face as a file system at /etc/pve."""

from kvorum.store.client import StoreClient
from kvorum.store.cluster_log import ClusterLog, Severity, log_entries
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
from kvorum.store.membership import REMOVED
from kvorum.store.names import is_private
from kvorum.store.naming import RENAMING, naming_text
from kvorum.store.stream import Revision

__all__ = [
    "REMOVED",
    "RENAMING",
    "Change",
    "ClusterLog",
    "Delete",
    "Expect",
    "File",
    "MakeDirectory",
    "Member",
    "Membership",
    "Operation",
    "Rename",
    "Revision",
    "Severity",
    "Store",
    "StoreClient",
    "Touch",
    "Write",
    "expect_digest",
    "is_private",
    "log_entries",
    "naming_text",
]
