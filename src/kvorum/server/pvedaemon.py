"""pvedaemon: carries out methods and tasks as root, and answers on its socket.

Started as ``python -m kvorum.server.pvedaemon``; ``running`` is the same inside another process.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from kvorum.access import (
    AccessAuthority,
    AuditLog,
    Authentication,
    Keys,
    PamRealm,
    PveRealm,
    Realm,
    Realms,
    SecondFactor,
    Throttle,
)
from kvorum.cluster.node_files import ensure_node_files
from kvorum.core.errors import NoQuorum, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.interface import Authority, Caller, Peers, Router, Services, Work
from kvorum.node.resource_rows import ResourceRows
from kvorum.server import rooms
from kvorum.server.api import Api
from kvorum.server.certificates import Certificates
from kvorum.server.credentials import command_identity
from kvorum.server.daemon import main
from kvorum.server.events import Events
from kvorum.server.forward import PORT, NodeForwarder
from kvorum.server.listen import on_unix_socket
from kvorum.server.peers import NodePeers
from kvorum.store import Store
from kvorum.tasks import TaskRunner
from kvorum.tasks.follow import Follower

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(
    store: Store, paths: Paths, realms: Sequence[Realm] | None = None, port: int = PORT
) -> AsyncIterator[Services]:
    """Open all rooms' services and the socket. ``port`` is where other nodes answer.

    At the end tasks are cancelled and get time to clean up; VMs run on.
    """
    services = Services()
    authority = AccessAuthority(store)
    authentication = Authentication(Keys(store), authority)
    certificates = Certificates(store)
    nodes = NodeForwarder(store, certificates.client, port)
    router = Router(rooms.methods())
    tasks = DeferredTasks(services)
    caller = Caller(store, services, authority, tasks, AuditLog(paths.audit_log))
    services.add(Authentication, authentication)
    services.add(Realms, Realms([*(realms or [PamRealm()]), PveRealm(store)]))
    services.add(SecondFactor, SecondFactor(store))
    services.add(AccessAuthority, authority)
    services.add(Throttle, Throttle())
    services.add(Authority, authority)
    services.add(
        Peers,
        NodePeers(store, router, caller, authentication, nodes, certificates),
    )
    rows = ResourceRows(store)
    services.add(ResourceRows, rows)
    events = Events(store, authority, rows)

    def follow(upid: str) -> Follower:
        return services.get(TaskRunner).follow(upid)

    api = Api(
        router, store, caller, authentication, nodes, trusted=command_identity, events=events, follow=follow
    )
    try:
        await _ensure_files(store, paths)
        async with (
            rooms.services(services, store, paths),
            on_unix_socket(api.handle, paths.daemon_socket),
            events.streaming(),
        ):
            yield services
    finally:
        await nodes.close()


async def _ensure_files(store: Store, paths: Paths) -> None:
    """Make this node's keys and certificates; without quorum go on with those that are there."""
    try:
        await ensure_node_files(store, paths)
    except (NoQuorum, OutcomeUnknown) as error:
        log.warning("this node's files can't be made or renewed now: %s", error)


class DeferredTasks:
    """The task runner, looked up when the first task begins: it is opened after the methods are known."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def start(self, work: Work, user: str) -> str:
        """Begin ``work`` for ``user`` and return its UPID."""
        return self._services.get(TaskRunner).start(work, user)


if __name__ == "__main__":
    main("pvedaemon", running)
