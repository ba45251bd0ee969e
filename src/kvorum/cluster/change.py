"""Creating and joining a cluster: the plans, what their steps do, and where a broken one goes on.

Create keeps the store's database (the node turns from local to cluster mode); join sets it aside, and the
cluster's copy replaces it. pvedaemon, which does this, outlives pve-cluster's restarts: its store reconnects.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from kvorum.cluster.host import Host
from kvorum.cluster.node_files import ensure_node_files
from kvorum.cluster.page_certificate import keep_page_certificate, page_certificate
from kvorum.cluster.renumber import Renumbering
from kvorum.cluster.renumber import carry_out as move_guests
from kvorum.cluster.sequence import Journal, Plan, Step, carry_out, interrupted
from kvorum.cluster.withdrawal import Withdrawal, Withdrawals
from kvorum.core.errors import AuthenticationError, Conflict, DeadlineExceeded, KvorumError, Unreachable
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration
from kvorum.storage import Storages
from kvorum.store import Delete, Expect, Store, Write

QUORUM_WAIT_S = 60.0
CONFIGURATION = "corosync.conf"
Log = Callable[[str], None]

CREATE = Plan(
    "create",
    (
        "generate corosync authentication key",
        "write corosync configuration to the store",
        "write corosync configuration to /etc/corosync",
        "start corosync",
        "restart pve-cluster",
        "wait for quorum",
        "generate node files",
    ),
    commit="generate node files",
)
JOIN = Plan(
    "join",
    (
        "request addition of this node",
        "stop pve-cluster service",
        "backup old database",
        "write corosync files",
        "start corosync",
        "start pve-cluster service",
        "wait for quorum",
        "(re)generate node files",
        "restart pveproxy",
    ),
    commit="(re)generate node files",
)
RENUMBER = "give guests free ids"
"""The step that comes first where guests have ids that the cluster has too."""


class Peer(Protocol):
    """The node that takes us in."""

    async def admit(self) -> Mapping[str, str]:
        """Ask to be taken in; returns what is to be noted: ``configuration``, ``key`` (base64), and what the
        peer's own undoing needs."""
        ...

    async def withdraw(self) -> None:
        """Say that we are not coming after all."""
        ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the steps act upon."""

    store: Store
    paths: Paths
    host: Host
    journal: Journal
    withdrawals: Withdrawals
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a create, join or leave of this node is carried out, finished or undone."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one begins."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one has ended, however: what it left is seen to then."""


def cluster_on(store: Store, paths: Paths, host: Host | None = None) -> Cluster:
    """The node's own."""
    journal = Journal(paths.state / "cluster-change.json")
    withdrawals = Withdrawals(paths.state / "cluster-withdrawals.json")
    return Cluster(store, paths, host or Host(store, paths), journal, withdrawals)


def refuse_meanwhile(cluster: Cluster) -> None:
    """Raise ``Conflict`` while another change of this node is under way, or what is left of one."""
    found = cluster.journal.load()
    if found is not None:
        raise Conflict(
            f"a {found[0]} of this node is under way, or is being finished or undone: try again when it has "
            "ended (journalctl -u pvedaemon says how)"
        )
    if cluster.changing.locked():
        raise Conflict("another change of this node's cluster is under way: try again when it has ended")


@asynccontextmanager
async def changing(cluster: Cluster) -> AsyncIterator[None]:
    """While open this node's create, join or leave is the only one; raises ``Conflict`` for a second."""
    refuse_meanwhile(cluster)
    async with cluster.changing:
        cluster.begun.set()
        try:
            yield
        finally:
            cluster.ended.set()


async def create(cluster: Cluster, configuration: str, log: Log) -> None:
    """Carry out the creation; raises ``SequenceFailed`` once it is undone."""
    notes = {"configuration": configuration}
    notes["authkey"] = "" if cluster.host.authkey.exists() else "made"
    async with changing(cluster):
        await carry_out(CREATE, create_steps(cluster, notes), cluster.journal, notes, log)


async def join(
    cluster: Cluster,
    peer: Peer,
    log: Log,
    peer_notes: Mapping[str, str] | None = None,
    renumbering: Renumbering | None = None,
) -> None:
    """Carry out the join; raises ``SequenceFailed`` once it is undone.

    ``peer_notes`` is what finds the peer again after a daemon's end.
    """
    notes = {"backup": cluster.host.new_backup(), **(peer_notes or {}), **page_certificate(cluster.store)}
    if renumbering is not None and renumbering.vmids:
        notes["renumbering"] = renumbering.text()
    async with changing(cluster):
        await carry_out(_join_plan(notes), join_steps(cluster, peer, notes), cluster.journal, notes, log)


async def recover(cluster: Cluster, log: Log) -> None:
    """Finish or undo what a daemon's end broke off; does nothing when nothing was under way."""
    found = cluster.journal.load()
    if found is None or found[0] not in ("create", "join"):
        return
    kind, state, notes = found
    plan = CREATE if kind == "create" else _join_plan(notes)
    if kind == "create":
        steps = create_steps(cluster, notes)
    else:
        from kvorum.cluster.peer import peer_of_notes  # aiohttp is for those who need it

        steps = join_steps(cluster, peer_of_notes(cluster.store.node, notes), notes)
    state = interrupted(plan, state, f"the {kind} was broken off by the end of pvedaemon")
    log(f"an unfinished {kind} was found: {'undoing it' if state.failure else 'going on with it'}")
    await carry_out(plan, steps, cluster.journal, notes, log, state)


def _join_plan(notes: Mapping[str, str]) -> Plan:
    return replace(JOIN, steps=(RENUMBER, *JOIN.steps)) if "renumbering" in notes else JOIN


def create_steps(cluster: Cluster, notes: dict[str, str]) -> dict[str, Step]:
    """What the steps of ``CREATE`` do."""
    host, store = cluster.host, cluster.store

    async def make_key() -> None:
        host.make_authkey()

    async def remove_key() -> None:
        if notes.get("authkey") == "made":
            host.remove_authkey()

    async def write_store() -> None:
        await store.transact(
            [Write(CONFIGURATION, notes["configuration"].encode())],
            [Expect(CONFIGURATION, None)],
            who="pvecm create",
        )

    async def remove_from_store() -> None:
        file = store.read(CONFIGURATION)
        if file is not None and file.text == notes["configuration"]:
            await store.transact([Delete(CONFIGURATION)], [Expect(CONFIGURATION, file.version)])

    async def write_local() -> None:
        host.write_configuration(notes["configuration"])

    async def remove_local() -> None:
        host.remove_configuration()
        await host.restart_store()
        await _wait_quorate(store, cluster=False)

    async def node_files() -> None:
        await ensure_node_files(store, cluster.paths)

    actions = (
        Step(make_key, remove_key),
        Step(write_store, remove_from_store),
        Step(write_local, remove_local),
        Step(host.start_corosync, host.stop_corosync),
        Step(host.restart_store),
        Step(lambda: _wait_quorate(store, cluster=True)),
        Step(node_files),
    )
    return dict(zip(CREATE.steps, actions, strict=True))


def join_steps(cluster: Cluster, peer: Peer, notes: dict[str, str]) -> dict[str, Step]:
    """What the steps of ``JOIN`` do."""
    host, store = cluster.host, cluster.store

    async def request() -> None:
        try:
            notes.update(await peer.admit())
        except Unreachable:
            raise
        except KvorumError:
            notes["refused"] = "1"
            raise

    async def withdraw() -> None:
        try:
            await peer.withdraw()
        except (KvorumError, OSError) as error:
            if notes.get("refused") and isinstance(error, AuthenticationError):
                return  # it was not listed, so nothing is to be taken off
            kept = Withdrawal.of(store.node, notes)
            if kept is None:
                raise
            cluster.withdrawals.add(kept)
            raise KvorumError(
                f"{kept.host} may list this node '{store.node}' and does not hear that it is not coming "
                f"({error}); it is told as soon as it answers, and joining again takes it off too"
            ) from error

    async def set_aside() -> None:
        host.set_database_aside(notes["backup"])

    async def bring_back() -> None:
        host.bring_database_back(notes["backup"])

    async def write_files() -> None:
        host.write_authkey(_key(notes["key"]))
        host.write_configuration(notes["configuration"])

    async def remove_files() -> None:
        host.remove_configuration()
        host.remove_authkey()

    async def node_files() -> None:
        cluster.withdrawals.forget(Configuration.read(notes["configuration"]).cluster_name)
        await keep_page_certificate(store, notes)
        await ensure_node_files(store, cluster.paths)

    actions = (
        Step(request, withdraw),
        Step(host.stop_store, host.restart_store),
        Step(set_aside, bring_back),
        Step(write_files, remove_files),
        Step(host.start_corosync, host.stop_corosync),
        Step(host.restart_store, host.stop_store),
        Step(lambda: _wait_quorate(store, cluster=True)),
        Step(node_files),
        Step(host.restart_proxy),
    )
    return {
        RENUMBER: _renumber_step(cluster, notes),
        **dict(zip(JOIN.steps, actions, strict=True)),
    }


def _renumber_step(cluster: Cluster, notes: Mapping[str, str]) -> Step:
    store, storages = cluster.store, Storages(cluster.store, cluster.paths)

    async def there() -> None:
        await move_guests(Renumbering.read(notes["renumbering"]), store, storages)

    async def back() -> None:
        await _wait_quorate(store, cluster=False)
        await move_guests(Renumbering.read(notes["renumbering"]).back, store, storages)

    return Step(there, back)


async def _wait_quorate(store: Store, *, cluster: bool) -> None:
    """Until the store says that changes are possible, in a cluster or (back) on a node alone."""
    try:
        async with asyncio.timeout(QUORUM_WAIT_S):
            async for membership in store.watch_membership():
                if membership.quorate and (membership.cluster is not None) == cluster:
                    return
    except TimeoutError:
        pass
    reason = store.membership.reason or "the store is not in sync yet"
    raise DeadlineExceeded(f"no quorum within {QUORUM_WAIT_S:g} s: {reason}")


def _key(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise Conflict("the peer's corosync key can't be read: is it of the same version?") from None
