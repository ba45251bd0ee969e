"""The cluster's nodes, and where each is: by the membership, and without one by corosync.conf."""

from __future__ import annotations

from kvorum.corosync import Configuration, DocumentError
from kvorum.store import Store


def listed_nodes(store: Store) -> dict[str, str]:
    """The address of each node by its name.

    A node whose own Corosync does not run knows no members for a while, and has the more need to ask others.
    """
    if members := store.membership.members:
        return {member.name: member.address for member in members}
    file = store.read("corosync.conf")
    try:
        nodes = Configuration.read(file.text).nodes if file is not None else ()
    except DocumentError:
        return {}
    return {node.name: node.addresses[min(node.addresses)] for node in nodes if node.addresses}
