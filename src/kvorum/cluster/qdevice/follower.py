"""Makes this node what the store says of the QDevice, at every change, and again while it does not succeed.

So a node that was off during a setup, or joins later, comes to its certificate and its daemon by itself, and
nobody has to undo anything on a node: what the store no longer has goes away there.
A QDevice that an admin set up by other means (no certificate in the store) is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypedDict

from kvorum.cluster.qdevice.certificate import AUTHORITY_FILE, BUNDLE_FILE, Bundle
from kvorum.cluster.qdevice.local import LocalDevice
from kvorum.core.errors import KvorumError
from kvorum.corosync import Configuration, DocumentError
from kvorum.store import Store

TRY_EVERY_S = 10.0
FOLLOW_S = 15.0
_CONFIGURATION = "corosync.conf"
_logger = logging.getLogger(__name__)


class Followed(TypedDict):
    """What a node has of the QDevice."""

    certificate: bool
    active: bool


class DeviceFollower:
    """Follows the store's QDevice on this node."""

    def __init__(self, store: Store, device: LocalDevice, running_version: Callable[[], int | None]) -> None:
        self._store = store
        self._device = device
        self._running_version = running_version
        self._alone = asyncio.Lock()
        self._started_with = ""

    async def follow(self) -> None:
        """Follow until cancelled; trouble is logged once and tried again."""
        told = ""
        async with contextlib.AsyncExitStack() as stack:
            changed = asyncio.Event()
            watching = asyncio.create_task(self._note_changes(changed))
            stack.callback(watching.cancel)
            while True:
                trouble = ""
                try:
                    await self.now()
                except (KvorumError, OSError) as error:
                    trouble = f"QDevice: {error}"
                if trouble and trouble != told:
                    _logger.warning("%s", trouble)
                told = trouble
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TRY_EVERY_S if trouble else None):
                        await changed.wait()
                changed.clear()

    async def _note_changes(self, changed: asyncio.Event) -> None:
        async for change in self._store.watch():
            if change.path == _CONFIGURATION or change.path.startswith("priv/qdevice/"):
                changed.set()

    async def now(self) -> Followed:
        """Make the node what the store says; raises ``KvorumError`` with what stands in the way."""
        async with self._alone:
            return await self._follow()

    async def _follow(self) -> Followed:
        bundle, configured = bundle_in(self._store), self._configured()
        ours = bool(self._device.imported())
        if bundle is None and not ours:
            return Followed(certificate=False, active=False)
        fresh = False
        if bundle is not None and bundle.digest != self._device.imported():
            await self._device.import_bundle(bundle)
            fresh = True
        if configured is not None and bundle is not None:
            await self._start(configured, fresh)
        else:
            await self._device.stop()
            self._started_with = ""
            if bundle is None:
                self._device.forget()
        return Followed(certificate=bundle is not None, active=configured is not None)

    async def _start(self, configured: Configuration, fresh: bool) -> None:
        """The daemon reads what corosync runs with, so that comes first; another device is another start."""
        await self._await_corosync(configured.config_version)
        device = await asyncio.to_thread(self._device.running_device)
        if not device:
            raise KvorumError("corosync does not run with the quorum device on this node")
        other = bool(self._started_with) and device != self._started_with
        if fresh or other or not await self._device.active():
            await self._device.start(anew=fresh or other)
        self._started_with = device

    async def _await_corosync(self, version: int) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + FOLLOW_S
        while (running := await asyncio.to_thread(self._running_version)) is None or running < version:
            if loop.time() > until:
                raise KvorumError(
                    f"corosync runs version {running or 'none'} of its configuration here, not {version} yet"
                )
            await asyncio.sleep(0.1)  # corosync gives no event for a reload

    def _configured(self) -> Configuration | None:
        """The configuration when it has a device of model net with this node in it."""
        file = self._store.read(_CONFIGURATION)
        try:
            configuration = Configuration.read(file.text) if file is not None else None
        except DocumentError:
            return None
        if configuration is None or configuration.device is None or configuration.device.model != "net":
            return None
        return configuration if configuration.node(self._store.node) is not None else None


def bundle_in(store: Store) -> Bundle | None:
    """The certificates that the store has for the nodes."""
    authority, pair = store.read(AUTHORITY_FILE), store.read(BUNDLE_FILE)
    if authority is None or pair is None:
        return None
    return Bundle(authority.data, pair.data)
