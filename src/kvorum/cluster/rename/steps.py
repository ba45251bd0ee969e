"""Renaming: the plan, what its steps do on the node itself, and where a broken one goes on.

The one point of no return is the store's transaction, made by the node itself while it is a member. Whether
it happened can be told afterwards: by the store where there is quorum, by the others where this node's
corosync was thrown out for its old version. All later steps are done until they succeed; guests run on
through them.
A node that loses power between two of them may have a host name that corosync.conf does not list: the marker
says which two names are one node's, so that its store starts by either (``kvorum.store.naming``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvorum.cluster.change import CONFIGURATION, Cluster, Log, changing
from kvorum.cluster.node_files import ensure_node_files, local_addresses
from kvorum.cluster.rename.local import LocalName
from kvorum.cluster.rename.transaction import rename
from kvorum.cluster.sequence import Plan, Step, carry_out, committed, interrupted
from kvorum.core.errors import DeadlineExceeded, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.corosync import Configuration, DocumentError
from kvorum.interface import Peers
from kvorum.store import Delete, Operation, Store

RENAME = Plan(
    "rename",
    (
        "rename this node in the cluster",
        "take the new host name",
        "write corosync configuration to /etc/corosync",
        "restart pve-cluster",
        "wait for quorum",
        "generate node files",
        "restart pveproxy",
    ),
    commit="take the new host name",
)
QUORUM_WAIT_S = 90.0
ASK_S = 3.0
_LOOK_EVERY_S = 1.0
_ASKED = "/kvorum/cluster/configuration"


@dataclass(frozen=True, slots=True)
class Renaming:
    """What the steps act upon."""

    cluster: Cluster
    local: LocalName
    peers: Peers | None = None


async def rename_node(what: Renaming, new: str, who: str, log: Log) -> None:
    """Rename this node; raises ``SequenceFailed`` when it keeps its name."""
    old = what.cluster.store.node
    notes = {"old": old, "new": new, "who": who, "nodeid": str(_nodeid(what.cluster, old))}
    async with changing(what.cluster):
        await carry_out(RENAME, rename_steps(what, notes, log), what.cluster.journal, notes, log)


async def recover_rename(what: Renaming, log: Log) -> bool:
    """Finish, or give up, a renaming that a daemon's end broke off; whether there was one to finish."""
    found = what.cluster.journal.load()
    if found is None or found[0] != RENAME.kind:
        return False
    _, state, notes = found
    first = RENAME.steps[0]
    if not committed(RENAME, state) and first in state.begun and not state.failure:
        happened = await _happened(what, notes)
        state = replace(state, finished=(first,)) if happened else state
    if committed(RENAME, state):
        state = replace(state, finished=(first,))  # what came after it can be done anew
    state = interrupted(RENAME, state, "the renaming was broken off by the end of pvedaemon")
    log(f"an unfinished renaming was found: {'nothing was changed' if state.failure else 'going on with it'}")
    await carry_out(RENAME, rename_steps(what, notes, log), what.cluster.journal, notes, log, state)
    return True


def rename_steps(what: Renaming, notes: dict[str, str], log: Log) -> dict[str, Step]:
    """What the steps of ``RENAME`` do."""
    cluster, local = what.cluster, what.local
    store, host = cluster.store, cluster.host
    old, new = notes["old"], notes["new"]

    async def in_the_store() -> None:
        try:
            made = await rename(store, old, new, notes["who"], addresses_here(), local.full_name(new))
            notes["configuration"] = made.configuration
        except (OutcomeUnknown, NoQuorum) as error:
            log(f"{error}: looking whether it happened")
            if not await _happened(what, notes):
                raise

    async def take_name() -> None:
        await asyncio.to_thread(local.take, old, new)

    async def write_configuration() -> None:
        file = store.read(CONFIGURATION)
        text = _newest((file.text if file else "", notes.get("configuration", "")), notes)
        if not text:
            return  # a node alone
        host.write_configuration(text)
        await local.follow_corosync()

    async def wait() -> None:
        await _wait_renamed(cluster, new, in_cluster=host.configuration.exists())

    async def node_files() -> None:
        await ensure_node_files(store, cluster.paths, fqdn=local.full_name(new))
        await _forget_folder(cluster, old, notes["who"])
        local.forget_marker()

    actions = (
        Step(in_the_store),
        Step(take_name),
        Step(write_configuration),
        Step(host.restart_store),
        Step(wait),
        Step(node_files),
        Step(host.restart_proxy),
    )
    return dict(zip(RENAME.steps, actions, strict=True))


def addresses_here() -> Sequence[str]:
    """The addresses that the node's certificate names."""
    return local_addresses()


async def _happened(what: Renaming, notes: dict[str, str]) -> bool:
    """Whether the cluster knows the node by its new name; waits until that is sure.

    Only a store in sync may deny it; any node's corosync.conf may affirm it.
    """
    store = what.cluster.store
    while True:
        if store.membership.quorate:
            try:
                await store.transact((), who="pvecm rename")  # the mirror is behind nothing after that
            except KvorumError:
                continue
            file = store.read(CONFIGURATION)
            if file is None:
                return notes["new"] in store.names("nodes")
            return bool(_newest((file.text,), notes))
        file = store.read(CONFIGURATION)
        for node in _others(file.text if file is not None else "", notes):
            if text := _newest((await _asked(what, node),), notes):
                notes["configuration"] = text
                return True
        await asyncio.sleep(_LOOK_EVERY_S)


async def _asked(what: Renaming, node: str) -> str:
    if what.peers is None:
        return ""
    try:
        return str(await what.peers.call(node, "GET", _ASKED, timeout=ASK_S))
    except KvorumError:
        return ""


def _newest(texts: Sequence[str], notes: dict[str, str]) -> str:
    """The newest configuration in which this node has its new name; empty when none has."""
    found = []
    for text in texts:
        try:
            configuration = Configuration.read(text) if text else None
        except DocumentError:
            continue
        listed = configuration.node(notes["new"]) if configuration else None
        if configuration and listed and str(listed.nodeid) == notes["nodeid"]:
            found.append((configuration.config_version, text))
    return max(found)[1] if found else ""


def _others(text: str, notes: dict[str, str]) -> list[str]:
    try:
        nodes = Configuration.read(text).nodes if text else ()
    except DocumentError:
        return []
    return [node.name for node in nodes if node.name not in (notes["old"], notes["new"])]


async def _forget_folder(cluster: Cluster, old: str, who: str) -> None:
    """Remove the folder of the old name that its store made anew after a power cut; one with files stays."""
    operations = _emptied(cluster.store, f"nodes/{old}")
    if operations:
        await cluster.store.transact(operations, who=who)


def _emptied(store: Store, path: str) -> list[Operation]:
    """What deletes a folder without files; nothing where there is a file, or no folder."""
    parent, _, name = path.rpartition("/")
    if name not in store.names(parent):
        return []
    operations: list[Operation] = []
    for below in store.names(path):
        if store.read(f"{path}/{below}") is not None:
            return []
        inner = _emptied(store, f"{path}/{below}")
        if not inner:
            return []
        operations += inner
    return [*operations, Delete(path)]


def _nodeid(cluster: Cluster, node: str) -> int:
    file = cluster.store.read(CONFIGURATION)
    listed = Configuration.read(file.text).node(node) if file is not None else None
    return listed.nodeid if listed else 0


async def _wait_renamed(cluster: Cluster, new: str, *, in_cluster: bool) -> None:
    store = cluster.store
    try:
        async with asyncio.timeout(QUORUM_WAIT_S):
            async for membership in store.watch_membership():
                if (
                    membership.quorate
                    and store.node == new
                    and (membership.cluster is not None) == in_cluster
                ):
                    return
    except TimeoutError:
        reason = store.membership.reason or "the store is not in sync yet"
        raise DeadlineExceeded(
            f"node '{new}' has no quorum within {QUORUM_WAIT_S:g} s: {reason}; its new name holds"
        ) from None
