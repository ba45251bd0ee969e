"""pve-cluster: the store as a daemon, ``python -m kvorum.store.daemon``; and inside ``kvorum serve``.

Without corosync.conf it is a group of one (a standalone node is always quorate), else a member of Corosync's
group. It says READY to systemd when the socket answers and, where asked for, /etc/pve is mounted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from types import ModuleType

from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.store.face import MakeDirectory, Member
from kvorum.store.group import Group, LocalGroup
from kvorum.store.host import Host
from kvorum.store.membership import REMOVED, MembershipSource, read_nodes
from kvorum.store.naming import RENAMING, listed_name
from kvorum.store.protocol import Ballot
from kvorum.store.server import Server
from kvorum.systemd import notify, stay_alive

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running_store(
    paths: Paths,
    *,
    node: str,
    fuse: bool,
    corosync: bool,
    inside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> AsyncIterator[Host]:
    """The store at work while open: replica, socket, and the file system with ``fuse``.

    With ``corosync`` the node's id is its entry in ``paths.corosync``/corosync.conf. ``inside`` is entered
    while Corosync is connected to (tests). Raises ``KvorumError`` when another store holds the database, or
    corosync.conf does not list this node.
    """
    config = paths.corosync / "corosync.conf" if corosync else None
    async with AsyncExitStack() as stack:
        stack.callback(os.close, _lock(paths.database))
        nodeid, ballot = 0, Ballot()
        group: Group = LocalGroup()
        if config is not None:
            from kvorum.store.corosync_group import CorosyncGroup
            from kvorum.store.settling import settle_seconds

            member, ballot = _member(config, node), Ballot(votes=0, expected=1)
            nodeid = member.nodeid
            group = CorosyncGroup(
                lambda ballot: counted(ballot),
                nodeid=nodeid,
                address=member.address,
                settle_seconds=lambda said: settle_seconds(config, said),
                inside=inside,
            )
        host = Host(paths.database, group, node=node, nodeid=nodeid, ballot=ballot)
        membership = MembershipSource(config, node, paths.database.with_name(REMOVED))
        server = Server(host, membership, paths.store_socket)

        def counted(ballot: Ballot) -> None:
            host.set_ballot(ballot)
            server.refresh()

        await stack.enter_async_context(server.running())
        task = asyncio.get_running_loop().create_task(host.run())
        stack.push_async_callback(_end, task)
        preparing = asyncio.get_running_loop().create_task(_prepare(host))
        stack.push_async_callback(_end, preparing)
        if fuse:
            with _without_trio():
                from kvorum.store.mount import mounted

            await stack.enter_async_context(mounted(host, membership, paths.etc_pve))
        yield host


@contextlib.contextmanager
def _without_trio() -> Iterator[None]:
    """While open, who imports trio gets an empty module.

    pyfuse3 does, and in its asyncio mode uses nothing of it; it would be a quarter of this daemon's memory.
    """
    if "trio" in sys.modules:
        yield
        return
    sys.modules["trio"] = ModuleType("trio")
    try:
        yield
    finally:
        del sys.modules["trio"]


async def run_store(paths: Paths, *, node: str, fuse: bool, corosync: bool) -> None:
    """Run the store until cancelled, then leave the group, unmount and close in order."""
    async with running_store(paths, node=node, fuse=fuse, corosync=corosync):
        await asyncio.get_running_loop().create_future()


async def _prepare(host: Host) -> None:
    """Make this node's directories as soon as the store is writable."""
    needed = ("priv/lock", *(f"nodes/{host.node}/{part}" for part in ("qemu-server", "lxc", "priv")))
    while True:
        await _writable(host)
        missing = [MakeDirectory(path) for path in needed if not host.tree.is_directory(path)]
        if not missing:
            return
        try:
            await host.transact(missing, (), "pve-cluster", 20.0)
        except (Conflict, NoQuorum, OutcomeUnknown) as error:
            log.info("this node's directories are not made yet: %s", error)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _lock(database: Path) -> int:
    """Hold the database alone: two stores on one node would both speak for it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    path = database.with_name(database.name + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise KvorumError(f"another store holds '{database}' already: is pve-cluster running?") from None
    return descriptor


def _member(config: Path, node: str) -> Member:
    try:
        _, _, members = read_nodes(config.read_text())
    except (OSError, ValueError) as error:
        raise KvorumError(f"'{config}' can't be read: {error}") from error
    for member in members:
        if member.name == node:
            return member
    names = ", ".join(member.name for member in members)
    raise KvorumError(f"'{config}' does not list this node, '{node}', only: {names}")


async def _main(paths: Paths, node: str, fuse: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    corosync = (paths.corosync / "corosync.conf").exists()
    if corosync:
        node = _listed(paths, node)
    async with running_store(paths, node=node, fuse=fuse, corosync=corosync) as host:
        if not corosync:
            await asyncio.wait_for(_writable(host), 30)
        notify("READY=1")
        watched = loop.create_task(stay_alive())
        log.info("the store is up: node %s, %s", node, "in a cluster" if corosync else "standalone")
        await stop.wait()
        notify("STOPPING=1")
        watched.cancel()


def _listed(paths: Paths, node: str) -> str:
    """This node's name as corosync.conf has it, also while it is being renamed."""
    try:
        _, _, members = read_nodes((paths.corosync / "corosync.conf").read_text())
    except (OSError, ValueError):
        return node  # whoever opens it says what is wrong
    return listed_name(node, [member.name for member in members], paths.database.with_name(RENAMING))


async def _writable(host: Host) -> None:
    changed = asyncio.Event()
    forget = host.listen(lambda _: changed.set())
    try:
        while not host.status.writable:
            await changed.wait()
            changed.clear()
    finally:
        forget()


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="pve-cluster", description="The replicated configuration store.")
    parser.add_argument("--root", type=Path, help="keep everything under this directory (tests)")
    parser.add_argument("--node", default=socket.gethostname().split(".")[0])
    parser.add_argument("--no-fuse", action="store_true", help="mount nothing")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # The default of 5 ms lets a busy loop keep the database's thread waiting, and the other way round.
    sys.setswitchinterval(0.0005)
    paths = Paths.under(options.root) if options.root else Paths.system()
    try:
        asyncio.run(_main(paths, options.node, not options.no_fuse))
    except KvorumError as error:
        log.error("%s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
