"""The store's local socket: who asks is known by the kernel, and is told of every change in order.

Root (and whom the daemon runs as) sees and may do all; group www-data sees all but ``priv`` and may change
nothing. A reader too slow to follow is cut off; it comes back and resumes.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from kvorum.core.errors import KvorumError
from kvorum.store import stream
from kvorum.store.corosync_conf import RUNNING
from kvorum.store.face import File
from kvorum.store.host import Heard, Host
from kvorum.store.membership import MembershipSource
from kvorum.store.names import is_private
from kvorum.store.protocol import Changed, DiskSynced, LeaseTaken, Published, StatusChanged
from kvorum.store.revisions import read_history

log = logging.getLogger(__name__)

_BACKLOG = 2048
_BACKLOG_BYTES = 1 << 20
_BEHIND_BYTES = 192 << 20
_REQUESTS = 256

_GATHER_SECONDS = 0.005
"""The least time between two moments at which changes are told: what comes meanwhile is told in one piece."""

_HELD_SECONDS = 0.05
"""The longest that a change is held back until it is on this node's disk."""

_Request: TypeAlias = stream.Transact | stream.PublishValue | stream.Adopt | stream.ReadHistory | stream.Hold


class _Client:
    def __init__(self, writer: asyncio.StreamWriter, private: bool) -> None:
        self.writer = writer
        self.private = private
        """May see ``priv`` and change things."""
        self.ready = False
        self.queued: list[bytes] = []
        """Changes that it is told with whatever is sent next."""
        self.requests: set[asyncio.Task[None]] = set()

    def send(self, data: bytes = b"") -> None:
        if self.queued:
            data, self.queued = b"".join((*self.queued, data)), []
        if self.writer.transport.get_write_buffer_size() > _BEHIND_BYTES:
            log.warning("a local reader of the store does not keep up and is cut off")
            self.writer.transport.abort()
        else:
            self.writer.write(data)


class Server:
    """Answers on the socket while ``run`` runs."""

    def __init__(self, host: Host, membership: MembershipSource, path: Path) -> None:
        self._host = host
        self._membership = membership
        self._path = path
        self._clients: set[_Client] = set()
        self._backlog: deque[tuple[bytes, stream.Changes]] = deque()
        self._backlog_bytes = 0
        self._mark = host.root
        self._loop = asyncio.get_running_loop()
        self._held: asyncio.TimerHandle | None = None
        """Ends the present wait of what is queued: the gathering, and then the one for the disk."""
        self._gathered = False
        self._told_at = float("-inf")
        """When changes were told last, by the loop's clock."""
        self._on_disk = False
        """Whether the disk has what is queued."""
        self._holders: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on the socket; at exit all connections are closed."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, self._path, limit=1 << 20)
        self._path.chmod(0o660)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(self._path, -1, grp.getgrnam("www-data").gr_gid)
        forget = self._host.listen(self._heard)
        try:
            yield
        finally:
            forget()
            server.close()
            self._release()
            for client in list(self._clients):
                client.writer.transport.abort()
            self._path.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Look again who is in the cluster: after a change of status, votes or corosync.conf."""
        if self._membership.update(self._host.status):
            self._host.forget_others({member.name for member in self._membership.current.members})
            self._broadcast(stream.Members(self._membership.current))
            for member in self._membership.current.members:
                if member.name == self._host.node:
                    self._host.listen_at(member.address)

    # Telling

    def _heard(self, heard: Heard) -> None:
        match heard:
            case Changed(version, changes, root):
                message = stream.Changes(version, root, changes)
                self._remember(message)
                self._hold(message)
            case DiskSynced():
                self._on_disk = True
                if self._gathered:
                    self._release()
            case StatusChanged():
                self.refresh()
                self._tell_holders()
            case LeaseTaken():
                self._tell_holders()
            case Published(node, key, value, ttl):
                if key == RUNNING and node == self._host.node:
                    self.refresh()  # a node that was off may have left the list: nothing else would tell
                self._broadcast(stream.Value(node, key, value, ttl))

    def _tell_holders(self) -> None:
        """Renewals are of no interest to others."""
        owners = {lease.name: lease.owner for lease in self._host.leases()}
        if owners != self._holders:
            self._holders = owners
            self._broadcast(stream.Holders(owners))

    def _remember(self, message: stream.Changes) -> None:
        self._backlog.append((self._mark, message))
        self._mark = message.mark
        self._backlog_bytes += _size(message)
        while len(self._backlog) > _BACKLOG or self._backlog_bytes > _BACKLOG_BYTES:
            self._backlog_bytes -= _size(self._backlog.popleft()[1])

    def _hold(self, message: stream.Changes) -> None:
        """Tell readers once this node's disk has it; soon after a telling, with what else comes by then.

        Each time they are woken they compete with the writer's next changes for the same processors. Who
        asked has it with the answer.
        """
        for client, data in self._framed(message):
            client.queued.append(data)
        self._on_disk = False
        if self._held is None:
            since = self._loop.time() - self._told_at
            if since < _GATHER_SECONDS:
                self._held = self._loop.call_later(_GATHER_SECONDS - since, self._gather_ended)
            else:
                self._gather_ended()

    def _gather_ended(self) -> None:
        self._gathered = True
        if self._on_disk:
            self._release()
        else:
            self._held = self._loop.call_later(_HELD_SECONDS, self._release)

    def _release(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held, self._gathered = None, False
            self._told_at = self._loop.time()
            for client in list(self._clients):
                if client.queued:
                    client.send()

    def _broadcast(self, message: stream.Told) -> None:
        for client, data in self._framed(message):
            client.send(data)

    def _framed(self, message: stream.Told) -> Iterator[tuple[_Client, bytes]]:
        whole: bytes | None = None
        public: bytes | None = None
        for client in self._clients:
            if not client.ready:
                continue
            if client.private:
                whole = whole or stream.frame(message)
                yield client, whole
            else:
                public = public or stream.frame(_public(message))
                yield client, public

    def _greet(self, client: _Client, mark: bytes) -> None:
        host = self._host
        messages: list[stream.Told] = [stream.Welcome(host.node, host.version, host.root)]
        if mark != host.root:
            start = next(
                (i for i in range(len(self._backlog) - 1, -1, -1) if self._backlog[i][0] == mark), None
            )
            if start is None:
                messages += self._snapshot()
            else:
                messages += [self._backlog[i][1] for i in range(start, len(self._backlog))]
        messages.append(stream.Holders(self._holders))
        messages.append(stream.Members(self._membership.current))
        messages += [
            stream.Value(node, key, value, ttl) for (node, key), (value, ttl) in host.published().items()
        ]
        for message in messages:
            client.send(stream.frame(message if client.private else _public(message)))
        client.ready = True

    def _snapshot(self) -> list[stream.Told]:
        host = self._host
        parts: list[stream.Told] = []
        files: list[File] = []
        size = 0
        for file in host.tree.files():
            files.append(file)
            size += len(file.data)
            if size > stream.SNAPSHOT_BYTES:
                parts.append(stream.Snapshot(False, host.version, b"", tuple(files)))
                files, size = [], 0
        directories = tuple(host.tree.directories())
        parts.append(stream.Snapshot(True, host.version, host.root, tuple(files), directories))
        return parts

    # Asking

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(writer, _trusted(writer))
        self._clients.add(client)
        try:
            while True:
                self._asked(client, stream.asking.decode(await stream.read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (ValueError, msgspec.MsgspecError) as error:
            log.warning("a local client of the store sent garbage and is cut off: %s", error)
        finally:
            self._clients.discard(client)
            for task in client.requests:
                task.cancel()
            writer.transport.abort()

    def _asked(self, client: _Client, message: stream.Asking) -> None:
        if isinstance(message, stream.Hello):
            self._greet(client, message.mark)
            return
        if not client.private:
            client.send(stream.frame(stream.Reply(message.id, 0, "error", "only root may change the store")))
            return
        if len(client.requests) >= _REQUESTS:
            text = f"{_REQUESTS} requests of this connection are waiting already; nothing was changed"
            client.send(stream.frame(stream.Reply(message.id, 0, "error", text)))
            return
        task = asyncio.get_running_loop().create_task(self._carry_out(client, message))
        client.requests.add(task)
        task.add_done_callback(client.requests.discard)

    async def _carry_out(self, client: _Client, message: _Request) -> None:
        try:
            version = 0
            match message:
                case stream.ReadHistory(number, path, revision, most):
                    await self._host.settle()
                    found = await asyncio.to_thread(read_history, self._host.database, path, revision, most)
                    client.send(stream.frame(stream.History(number, found)))
                    return
                case stream.Hold(number, name, owner, seconds):
                    until = await self._host.claim(name, owner, seconds)
                    client.send(stream.frame(stream.Leased(number, until)))
                    return
                case stream.Transact(_, operations, expect, who, timeout):
                    version = await self._host.transact(operations, expect, who, timeout)
                case stream.PublishValue(_, key, value, ttl):
                    self._host.publish(key, value, ttl)
                case stream.Adopt():
                    self._host.adopt()
            reply = stream.Reply(message.id, version)
        except KvorumError as error:
            reply = stream.Reply(message.id, 0, stream.error_name(error), str(error))
        client.send(stream.frame(reply))


def _size(message: stream.Changes) -> int:
    return 64 + sum(len(change.file.data) if change.file else 0 for change in message.changes)


def _public(message: stream.Told) -> stream.Told:
    """The message without what only root may see."""
    match message:
        case stream.Changes(version, mark, changes):
            return stream.Changes(version, mark, tuple(c for c in changes if not is_private(c.path)))
        case stream.Snapshot(last, version, mark, files, directories):
            return stream.Snapshot(
                last,
                version,
                mark,
                tuple(file for file in files if not is_private(file.path)),
                tuple(path for path in directories if not is_private(path)),
            )
    return message


def _trusted(writer: asyncio.StreamWriter) -> bool:
    peer: socket.socket = writer.get_extra_info("socket")
    _pid, uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.getuid())
