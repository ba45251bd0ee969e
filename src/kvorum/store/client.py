"""The store as other processes hold it: a mirror in memory, kept by pve-cluster's stream of changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from kvorum.core.errors import KvorumError, NoQuorum, OutcomeUnknown, Unreachable
from kvorum.store import stream
from kvorum.store.face import Change, Delete, Expect, File, Membership, Operation, Store, Write
from kvorum.store.names import check_lease
from kvorum.store.stream import Revision
from kvorum.store.tree import Tree

log = logging.getLogger(__name__)

_RETRY_MIN, _RETRY_MAX = 0.05, 1.0
_HISTORY_SECONDS = 10.0
_GRACE = 2.0
"""Seconds added to a request's deadline before its answer is given up: the server's comes first."""


class StoreClient(Store):
    """A mirror of the store over its local socket. Use as an async context manager, or ``start``, ``close``.

    While pve-cluster restarts, reads go on from the mirror and changes wait for it up to their deadline.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._node = ""
        self._version = 0
        self._mark = b""
        self._tree = Tree()
        self._membership = Membership(None, (), False, 0, "the store (pve-cluster) has not answered yet")
        self._membership_changed = asyncio.Event()
        self._watchers: set[asyncio.Queue[Change]] = set()
        self._values: dict[tuple[str, str], tuple[bytes, float]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._snapshot: list[stream.Snapshot] = []
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._histories: dict[int, tuple[Revision, ...]] = {}
        self._leased: dict[int, float] = {}
        self._holders: dict[str, str] = {}
        self._requests = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, timeout: float = 30.0) -> None:
        """Connect and fill the mirror; raises ``Unreachable`` when pve-cluster doesn't answer in time."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await asyncio.wait_for(self._connected.wait(), timeout)
        except TimeoutError:
            await self.close()
            raise Unreachable(
                f"the store does not answer on '{self._socket}' within {timeout:g} s: "
                "is pve-cluster running? See 'systemctl status pve-cluster'"
            ) from None

    async def close(self) -> None:
        """End the connection; changes under way end with ``OutcomeUnknown``."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether pve-cluster is there; without it reads go on from the mirror."""
        return self._connected.is_set()

    @property
    def node(self) -> str:
        return self._node

    @property
    def version(self) -> int:
        return self._version

    @property
    def membership(self) -> Membership:
        return self._membership

    def read(self, path: str) -> File | None:
        return self._tree.read(path)

    def names(self, path: str) -> tuple[str, ...]:
        return self._tree.names(path)

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at ``path``."""
        return self._tree.is_directory(path)

    def guests(self) -> Mapping[str, str]:
        return self._tree.guests()

    async def transact(
        self,
        operations: Sequence[Operation],
        expect: Sequence[Expect] = (),
        *,
        who: str = "",
        timeout: float = 20.0,
    ) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        writer = await self._wait_connected(timeout)
        self._requests += 1
        left = max(0.1, until - loop.time())
        wanted = tuple(self._exactly(one) for one in expect)
        message = stream.Transact(self._requests, tuple(operations), wanted, who, left)
        return await self._ask(writer, message, left + _GRACE)

    def _exactly(self, expect: Expect) -> Expect:
        """The expectation with the content that its version has in this mirror."""
        file = self._tree.read(expect.path)
        return Expect.of(file) if file is not None and file.version == expect.version else expect

    async def publish(self, key: str, value: bytes, ttl: float = 30.0) -> None:
        writer = await self._wait_connected(_GRACE)
        self._requests += 1
        await self._ask(writer, stream.PublishValue(self._requests, key, value, ttl), _GRACE)

    async def hold(self, name: str, owner: str, seconds: float) -> float:
        check_lease(name, owner, seconds)
        return await self._claim(name, owner, seconds)

    async def let_go(self, name: str, owner: str) -> None:
        if self._holders.get(name) == owner:
            await self._claim(name, owner, 0.0)

    def holder(self, name: str) -> str | None:
        return self._holders.get(name)

    async def _claim(self, name: str, owner: str, seconds: float) -> float:
        writer = await self._wait_connected(_GRACE)
        self._requests += 1
        number = self._requests
        await self._ask(writer, stream.Hold(number, name, owner, seconds), max(seconds, _GRACE))
        return self._leased.pop(number)

    async def adopt(self) -> None:
        """An admin's word that lost nodes are lost (``pvecm adopt``)."""
        writer = await self._wait_connected(_GRACE)
        self._requests += 1
        await self._ask(writer, stream.Adopt(self._requests), _GRACE)

    async def history(self, path: str, most: int = 100) -> tuple[Revision, ...]:
        """The changes of ``path`` that this node still knows, newest first, without contents.

        Raises ``KvorumError`` when they can't be read, ``NoQuorum`` when pve-cluster is away.
        """
        return await self._ask_history(path, 0, most)

    async def revision(self, path: str, number: int) -> Revision:
        """One change of ``path`` with the content before it; raises ``KvorumError`` when it is not known."""
        found = await self._ask_history(path, number, 1)
        if not found:
            raise KvorumError(f"the history of '{path}' has no revision {number} on this node")
        return found[0]

    async def restore(self, path: str, number: int, *, who: str = "") -> int:
        """Make ``path`` what it was before the change ``number``; deletes it if it did not exist then.

        Returns the store's new version. Raises as ``revision`` and ``transact`` do; ``Conflict`` when the
        file changes meanwhile.
        """
        before = (await self.revision(path, number)).before
        now = self._tree.read(path)
        expect = Expect(path, None) if now is None else Expect.of(now)
        if before is None and now is None:
            return self._version
        return await self.transact(
            [Delete(path) if before is None else Write(path, before)], [expect], who=who
        )

    def published(self, key: str) -> Mapping[str, bytes]:
        now = asyncio.get_running_loop().time()
        for name in [name for name, (_, until) in self._values.items() if until <= now]:
            del self._values[name]
        return {node: value for (node, k), (value, _) in self._values.items() if k == key}

    async def watch(self, prefix: str = "") -> AsyncIterator[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while True:
                change = await queue.get()
                if change.path.startswith(prefix):
                    yield change
        finally:
            self._watchers.discard(queue)

    async def watch_membership(self) -> AsyncIterator[Membership]:
        while True:
            changed = self._membership_changed
            yield self._membership
            await changed.wait()

    # Asking

    async def _wait_connected(self, timeout: float) -> asyncio.StreamWriter:
        try:
            async with asyncio.timeout(timeout):
                while self._writer is None or not self._connected.is_set():
                    await self._connected.wait()
                return self._writer
        except TimeoutError:
            raise NoQuorum("the store (pve-cluster) does not answer; nothing was changed") from None

    async def _ask_history(self, path: str, number: int, most: int) -> tuple[Revision, ...]:
        writer = await self._wait_connected(_GRACE)
        self._requests += 1
        message = stream.ReadHistory(self._requests, path, number, most)
        await self._ask(writer, message, _HISTORY_SECONDS)
        return self._histories.pop(message.id)

    async def _ask(
        self,
        writer: asyncio.StreamWriter,
        message: stream.Transact | stream.PublishValue | stream.Adopt | stream.ReadHistory | stream.Hold,
        timeout: float,
    ) -> int:
        data = stream.frame(message)
        if len(data) > stream.FRAME_BYTES:
            raise NoQuorum(f"a change of {len(data)} bytes is too large; nothing was changed")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[message.id] = future
        try:
            writer.write(data)
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise OutcomeUnknown("the store did not answer in time; look before trying again") from None
        finally:
            self._waiting.pop(message.id, None)

    # Keeping the mirror

    async def _run(self) -> None:
        pause = _RETRY_MIN
        try:
            while True:
                try:
                    await self._session()
                    pause = _RETRY_MIN
                except (OSError, asyncio.IncompleteReadError):
                    log.debug("no connection to the store on %s", self._socket)
                except (ValueError, msgspec.MsgspecError) as error:
                    log.error("the store's stream is garbled and is begun anew: %s", error)
                    self._mark = b""
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_MAX)
        finally:
            self._disconnected()

    async def _session(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=1 << 20)
        try:
            self._snapshot = []
            writer.write(stream.frame(stream.Hello(self._mark)))
            self._writer = writer
            while True:
                self._told(stream.told.decode(await stream.read_frame(reader)))
        finally:
            writer.close()
            self._disconnected()

    def _disconnected(self) -> None:
        self._writer = None
        self._connected.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    OutcomeUnknown("the store (pve-cluster) went away meanwhile; look before trying again")
                )

    def _told(self, message: stream.Told) -> None:
        match message:
            case stream.Changes(version, mark, changes):
                self._version, self._mark = version, mark
                self._apply(changes)
            case stream.Reply() | stream.History() | stream.Leased():
                self._answered(message)
            case stream.Holders(owners):
                self._holders = owners
            case stream.Value(node, key, value, ttl):
                self._values[node, key] = (value, asyncio.get_running_loop().time() + ttl)
            case stream.Members(membership):
                # The server sends it last in its greeting: from here on the mirror is whole.
                self._connected.set()
                if membership != self._membership:
                    self._membership = membership
                    listed = {member.name for member in membership.members}
                    self._values = {key: kept for key, kept in self._values.items() if key[0] in listed}
                    self._membership_changed.set()
                    self._membership_changed = asyncio.Event()
            case stream.Snapshot():
                self._snapshot.append(message)
                if message.last:
                    self._replace()
            case stream.Welcome(node, version, mark):
                self._node = node
                if mark == self._mark:
                    self._version = version

    def _answered(self, message: stream.Reply | stream.History | stream.Leased) -> None:
        future = self._waiting.get(message.id)
        if future is None or future.done():
            return
        match message:
            case stream.Reply(_, version, "", _):
                future.set_result(version)
            case stream.Reply(_, _, error, text):
                future.set_exception(stream.ERRORS.get(error, stream.ERRORS["error"])(text))
            case stream.History(number, revisions):
                self._histories[number] = revisions
                future.set_result(0)
            case stream.Leased(number, until):
                self._leased[number] = until
                future.set_result(0)

    def _apply(self, changes: Iterable[Change]) -> None:
        changes = tuple(changes)
        self._tree.patch(
            [c.path for c in changes if c.file is None and not c.directory],
            [c.path for c in changes if c.directory],
            [c.file for c in changes if c.file is not None],
        )
        for change in changes:
            for queue in self._watchers:
                queue.put_nowait(change)

    def _replace(self) -> None:
        """Take over a snapshot; watchers are told what differs."""
        last = self._snapshot[-1]
        files = {file.path: file for part in self._snapshot for file in part.files}
        directories = {path for part in self._snapshot for path in part.directories}
        self._snapshot = []
        old = {file.path: file for file in self._tree.files()}
        gone = [
            path
            for path in (*old, *self._tree.directories())
            if path not in files and path not in directories
        ]
        changes = [Change(last.version, path, None) for path in sorted(gone, key=len, reverse=True)]
        changes += [
            Change(last.version, path, None, True)
            for path in sorted(directories, key=len)
            if not self._tree.is_directory(path)
        ]
        changes += [
            Change(file.version, file.path, file) for file in files.values() if old.get(file.path) != file
        ]
        self._version, self._mark = last.version, last.mark
        self._apply(changes)
