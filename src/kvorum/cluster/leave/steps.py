"""Leaving by oneself: the plan, what its steps do, and where a broken one goes on.

The one point of no return is the store's transaction that takes the node off the list, which the node itself
makes while it is a member. Whether that happened can be asked of the others, so a node whose answer was lost
is not left in between. All later steps are done until they succeed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from kvorum.cluster.change import Cluster, Log, changing
from kvorum.cluster.leave.ask import ask_if_removed
from kvorum.cluster.leave.removal import remove
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.sequence import Plan, Step, carry_out, committed, interrupted
from kvorum.core.errors import Conflict, DeadlineExceeded, KvorumError, NoQuorum, OutcomeUnknown

LEAVE = Plan(
    "leave",
    (
        "take this node out of the cluster",
        "stop corosync",
        "stop pve-cluster service",
        "backup old database",
        "remove corosync files",
        "start pve-cluster service",
        "generate node files",
        "restart pveproxy",
    ),
    commit="stop corosync",
)
OUTCOME_WAIT_S = 40.0
_LOOK_EVERY_S = 1.0
_LOCAL_WAIT_S = 60.0


async def leave(cluster: Cluster, who: str, log: Log, *, removed: bool, last: bool) -> None:
    """Make this node one of its own; raises ``SequenceFailed`` when it stays a member.

    ``removed``: the cluster let it go already. ``last``: it is the cluster's only node and keeps its files.
    """
    notes = {"backup": cluster.host.new_backup(), "who": who}
    notes |= {"removed": "1"} if removed else {}
    notes |= {"last": "1"} if last else {}
    async with changing(cluster):
        await carry_out(LEAVE, leave_steps(cluster, notes, log), cluster.journal, notes, log)


async def recover_leave(cluster: Cluster, log: Log) -> None:
    """Finish, or give up, a leave that a daemon's end broke off."""
    found = cluster.journal.load()
    if found is None or found[0] != LEAVE.kind:
        return
    _, state, notes = found
    steps = leave_steps(cluster, notes, log)
    first = LEAVE.steps[0]
    if not committed(LEAVE, state) and first in state.begun and not state.failure:
        try:
            await _outcome(cluster)
            state = replace(state, finished=(first,))
        except KvorumError as error:
            log(str(error))
    if committed(LEAVE, state):
        # A reboot started units again: all that comes after the list is done anew, it can be.
        state = replace(state, finished=(first,))
    state = interrupted(LEAVE, state, "the leave was broken off by the end of pvedaemon")
    log(f"an unfinished leave was found: {'this node stays' if state.failure else 'going on with it'}")
    await carry_out(LEAVE, steps, cluster.journal, notes, log, state)


def leave_steps(cluster: Cluster, notes: dict[str, str], log: Log) -> dict[str, Step]:
    """What the steps of ``LEAVE`` do."""
    host, store = cluster.host, cluster.store

    async def take_out() -> None:
        if notes.get("removed"):
            return
        try:
            removal = await remove(store, store.node, notes["who"])
        except (OutcomeUnknown, NoQuorum) as error:
            log(f"{error}: looking whether it happened")
            await _outcome(cluster)
            return
        for note in removal.notes if removal else ():
            log(note)

    async def set_aside() -> None:
        if not notes.get("last"):
            host.set_database_aside(notes["backup"])

    async def remove_files() -> None:
        host.remove_configuration()
        host.remove_authkey()
        host.removed.unlink(missing_ok=True)

    async def node_files() -> None:
        await _wait_local(cluster)
        await ensure_node_files(store, cluster.paths)

    actions = (
        Step(take_out),
        Step(host.stop_corosync),
        Step(host.stop_store),
        Step(set_aside),
        Step(remove_files),
        Step(host.restart_store),
        Step(node_files),
        Step(host.restart_proxy),
    )
    return dict(zip(LEAVE.steps, actions, strict=True))


async def _outcome(cluster: Cluster) -> None:
    """Return once it is sure that this node was taken off the list.

    Raises ``Conflict`` when it is sure that it was not, ``DeadlineExceeded`` when nobody could be asked: the
    node then stays as it is, and learns it from the others as soon as it reaches one.
    """
    store = cluster.store
    loop = asyncio.get_running_loop()
    until = loop.time() + OUTCOME_WAIT_S
    while loop.time() < until:
        if await ask_if_removed(store) is not None:
            return
        if store.membership.quorate:
            try:
                await store.transact((), who="pvecm leave")  # the mirror is behind nothing after that
            except KvorumError:
                continue
            if store.read("corosync.conf") is None:
                return  # it was the last node
            raise Conflict("the cluster changed at the same moment and this node is still in it: try again")
        await asyncio.sleep(_LOOK_EVERY_S)
    raise DeadlineExceeded(
        f"within {OUTCOME_WAIT_S:g} s no node of the cluster could tell whether this one was taken off its "
        "list; if it was, this node will learn it when it reaches one"
    )


async def _wait_local(cluster: Cluster) -> None:
    store = cluster.store
    try:
        async with asyncio.timeout(_LOCAL_WAIT_S):
            async for membership in store.watch_membership():
                if membership.cluster is None and membership.quorate:
                    break
    except TimeoutError:
        raise DeadlineExceeded(f"the store did not come up within {_LOCAL_WAIT_S:g} s") from None
