"""What keeps a node's Corosync at the cluster's configuration.

Each node's pvedaemon writes the store's corosync.conf to its own /etc/corosync when its version has grown,
and says so; when all have, corosync is told to reload, which it does on all nodes at once. Then the version
is on trial (``trial``). A node that was off meanwhile finds its Corosync thrown out for its old version: it
asks its peers for theirs and starts anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from kvorum.cluster.change import CONFIGURATION, Cluster
from kvorum.cluster.host import Host
from kvorum.cluster.relink.readdress import stands_aside
from kvorum.cluster.relink.under_way import FILE as LINK_CHANGE
from kvorum.cluster.relink.under_way import UnderWay
from kvorum.cluster.status import look
from kvorum.cluster.trial import COME_BACK_S, JOIN_S, Seen, Trial, Verdict, decide, taken_back
from kvorum.core import durable
from kvorum.core.errors import Conflict, KvorumError
from kvorum.corosync import (
    Cfg,
    Cmap,
    Configuration,
    CorosyncBusy,
    CorosyncError,
    CorosyncGone,
    DocumentError,
    judge,
)
from kvorum.interface import Peers
from kvorum.store import Expect, Store, Write
from kvorum.store.corosync_conf import REFUSED, REFUSED_SECONDS, RUNNING, number

VERSION_KEY = RUNNING
STAGED_KEY = "corosync-config-staged"
TELL_EVERY_S = 10.0
TRIAL_EVERY_S = 1.0
STAGE_S = 5.0
"""How long the others are waited for before corosync is told to reload."""
RELOAD_S = 10.0
"""How long a busy corosync is asked to reload."""
RELOAD_AGAIN_S = 0.05
STARTS_MOST = 6
"""How often corosync is started with a version that it has not run yet."""
CUT_OFF_S = 10.0
"""How long a corosync that runs may be without quorum before the others are asked for their version."""
ASK_S = 3.0
ASKED = "/kvorum/cluster/configuration"
_logger = logging.getLogger(__name__)


class NotNow(KvorumError):
    """Corosync could not be asked to reload; it has refused nothing."""


class CorosyncConfiguration:
    """Follows the store's corosync.conf on this node."""

    def __init__(
        self,
        store: Store,
        host: Host,
        journal: Path | None = None,
        peers: Peers | None = None,
        note: Callable[[str], None] = lambda _: None,
        changing: Callable[[], bool] = lambda: False,
    ) -> None:
        """``journal`` is where the trial outlives the daemon; ``peers`` are asked for what was missed.

        ``note`` puts a sentence into the cluster's log. ``changing`` says whether this node creates, joins or
        leaves a cluster just now: corosync is that change's to stop and start then.
        """
        self._store = store
        self._host = host
        self._journal = journal or host.configuration.with_name("corosync-trial.json")
        self._peers = peers
        self._note = note
        self._changing = changing
        self._noted = b""
        self._trial = self._load()
        self._since = time.monotonic()
        self._starts = 0
        self._quorate_at = time.monotonic()
        self._refused = b""
        """A text that corosync itself refused: not tried again."""

    @classmethod
    def of(
        cls, cluster: Cluster, peers: Peers | None, note: Callable[[str], None] = lambda _: None
    ) -> CorosyncConfiguration:
        """The node's own."""

        def changing() -> bool:
            return cluster.changing.locked() or cluster.journal.there()

        trial = cluster.paths.state / "corosync-trial.json"
        return cls(cluster.store, cluster.host, trial, peers, note, changing)

    async def follow(self) -> None:
        """Apply the present configuration and every later one; tell the running version now and then.

        The telling is a heartbeat: what is published is forgotten after a while.
        """
        changes = self._store.watch(CONFIGURATION)
        pending = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)  # the watch begins before the first look
        try:
            while True:
                await self.apply_and_tell()
                await self.try_on()
                self._note_refusals()
                await self.stand_aside()
                await self.catch_up()
                done, _ = await asyncio.wait([pending], timeout=self._pause())
                if done:
                    changed = pending.result()
                    pending = asyncio.ensure_future(anext(changes))
                    if changed.path == CONFIGURATION:
                        await self._await_acknowledgement()
        finally:
            pending.cancel()

    def _pause(self) -> float:
        if self._aside():
            return TRIAL_EVERY_S
        if self._trial is None:
            return TELL_EVERY_S
        young = time.monotonic() - self._since < self._trial.patience_s + TELL_EVERY_S
        return TRIAL_EVERY_S if young else TELL_EVERY_S

    async def _await_acknowledgement(self) -> None:
        """Let the change be answered first: it is seen before it is on every disk.

        With a node more in its configuration, corosync may take the quorum away that the answer needs.
        """
        try:
            await self._store.transact((), who="corosync.conf follows")
        except KvorumError as error:
            _logger.info("corosync.conf changed and can't be asked after: %s", error)

    async def apply_and_tell(self) -> None:
        """Apply the store's configuration if it is newer, then tell which one runs; trouble is logged."""
        try:
            staged = await asyncio.to_thread(self.stage)
            if staged is not None:
                await self._together(staged)
            await self._reload()
            version = await asyncio.to_thread(running_version)
            if version is not None:
                await self._store.publish(VERSION_KEY, str(version).encode(), ttl=3 * TELL_EVERY_S)
        except (KvorumError, OSError) as error:
            _logger.warning("corosync.conf: %s", error)

    def apply(self) -> bool:
        """Write and reload a newer configuration of the store's; return whether there was one.

        Raises ``KvorumError`` for one that is refused; the running one then stays.
        """
        staged = self.stage()
        return self._reload_if_behind() or staged is not None

    def stage(self) -> int | None:
        """Write a newer configuration of the store's to disk, on trial; return its version.

        Only on a node that is in a cluster already: create and join place the first one themselves.
        Raises ``KvorumError`` for one that is refused; the running one then stays.
        """
        file = self._store.read(CONFIGURATION)
        if file is None or not self._host.configuration.exists() or file.data == self._refused:
            return None
        old = self._local()
        if old is not None and (old.text == file.text or self._newer_by_taking_back(old, file.text)):
            return None
        judgement = judge(old, file.text)
        if judgement.errors:
            raise KvorumError("; ".join(judgement.errors))
        new = Configuration.read(file.text)
        if new.node(self._store.node) is None:
            if _by_another_name(old, new, self._store.node) or self._aside():
                return None  # who renames this node, or moves its address, sees to it
            raise KvorumError(f"the cluster's configuration no longer has this node '{self._store.node}'")
        if old is not None:
            joins = any(old.node(node.name) is None for node in new.nodes)
            self._begin(Trial(new.config_version, old.text, patience_s=JOIN_S if joins else COME_BACK_S))
        self._host.write_configuration(file.text)
        return new.config_version

    def _newer_by_taking_back(self, old: Configuration, text: str) -> bool:
        """Whether this node took back what the store still has."""
        if self._trial is None or not self._trial.taken_back:
            return False
        try:
            return Configuration.read(text).config_version < old.config_version
        except DocumentError:
            return True

    async def _together(self, version: int) -> None:
        """Until every present node has the version on disk, so that one reload takes it up everywhere."""
        await self._store.publish(STAGED_KEY, str(version).encode(), ttl=3 * TELL_EVERY_S)
        until = time.monotonic() + STAGE_S
        while self._lacking(version) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the store gives no event for what is published

    def _lacking(self, version: int) -> list[str]:
        """Who is here and has not written the version down yet."""
        staged, running = self._store.published(STAGED_KEY), self._store.published(VERSION_KEY)
        return [
            member.name
            for member in self._store.membership.members
            if member.online
            and member.name != self._store.node
            and max(number(staged.get(member.name)), number(running.get(member.name))) < version
        ]

    async def _reload(self) -> None:
        try:
            await asyncio.to_thread(self._reload_if_behind)  # a frozen corosync would hold the loop
        except NotNow:
            raise
        except KvorumError:
            await self._give_back()
            raise

    def _reload_if_behind(self) -> bool:
        """Let corosync take up what is on disk; after a broken-off reload it may still run the one before."""
        local, running = self._local(), running_version()
        if local is None or running is None or running >= local.config_version:
            return False
        _reload()
        return True

    async def _give_back(self) -> None:
        """Corosync refused the file: this node keeps the one before, and so shall the store.

        Not where a node has left: it is gone, and to list it again would only wait for its votes.
        """
        trial, refused = self._trial, self._local()
        if trial is None or refused is None or refused.config_version != trial.version or trial.taken_back:
            return
        if any(refused.node(node.name) is None for node in Configuration.read(trial.before).nodes):
            return
        self._host.write_configuration(trial.before)
        self._end()
        file = self._store.read(CONFIGURATION)
        if file is None or file.text != refused.text:
            return
        self._refused = file.data
        text = Configuration.read(trial.before).with_version(trial.version + 1).text
        await self._write(Expect.of(file), text, f"corosync refused version {trial.version} of corosync.conf")

    # On trial

    async def try_on(self) -> None:
        """Keep the version on trial, or take it back where the cluster does not come back quorate with it."""
        trial = self._trial
        if trial is None:
            return
        try:
            if trial.taken_back:
                await self._bring_to_store(trial)
                return
            seen = await asyncio.to_thread(see)
            match decide(trial, seen, time.monotonic() - self._since):
                case Verdict.KEEP:
                    self._end()
                case Verdict.TAKE_BACK:
                    await asyncio.to_thread(self._take_back, trial)
                case Verdict.WAIT:
                    pass
        except (KvorumError, OSError) as error:
            _logger.warning("corosync.conf: %s", error)

    def _take_back(self, trial: Trial) -> None:
        text, after = taken_back(trial)
        _logger.error("corosync.conf: %s", _no_quorum_by(trial))
        self._begin(after)
        self._host.write_configuration(text)
        self._reload_if_behind()

    async def _bring_to_store(self, trial: Trial) -> None:
        """Once the store can be written again, give it what runs; another node may have been first."""
        self._reload_if_behind()
        file, local = self._store.read(CONFIGURATION), self._local()
        if not self._store.membership.quorate or file is None or local is None:
            return
        try:
            behind = Configuration.read(file.text).config_version < local.config_version
        except DocumentError:
            behind = True
        if behind:
            before = replace(trial, version=trial.version - 1)
            await self._write(Expect.of(file), local.text, _no_quorum_by(before))
        self._end()

    async def _write(self, expect: Expect, text: str, why: str) -> None:
        try:
            await self._store.transact([Write(CONFIGURATION, text.encode())], [expect], who=why)
        except Conflict:
            return  # another node was first, with the same text
        await self._store.publish(REFUSED, why.encode(), REFUSED_SECONDS)

    def _note_refusals(self) -> None:
        """What this node refused or took back stands in the cluster's log too, once."""
        why = self._store.published(REFUSED).get(self._store.node, b"")
        if why and why != self._noted:
            self._note(why.decode())
        self._noted = why

    # Catching up

    def _aside(self) -> bool:
        """Whether the others list this node no more for a moment, to list it with another address then."""
        under, file = self._store.read(LINK_CHANGE), self._store.read(CONFIGURATION)
        if under is None or file is None or (local := self._local()) is None:
            return False
        try:
            change, now = UnderWay.read(under.text).change, Configuration.read(file.text)
        except (ValueError, DocumentError):
            return False  # who has to end it says so
        newer = now.config_version > local.config_version and now.cluster_name == local.cluster_name
        return newer and stands_aside(change, self._store.node, now)

    async def stand_aside(self) -> None:
        """Stop corosync, which has an address that the others are to know no more."""
        if not self._aside() or self._changing():
            return
        if await asyncio.to_thread(running_version) is None:
            return
        _logger.warning(
            "the cluster gives this node another address: corosync stops until it is listed with it"
        )
        try:
            await self._host.pause_corosync()
        except (KvorumError, OSError) as error:
            _logger.error("corosync.conf: %s", error)

    def _cut_off(self) -> bool:
        """Whether corosync has run here without quorum for a while: the others may have another version."""
        if self._store.membership.quorate:
            self._quorate_at = time.monotonic()
        return time.monotonic() - self._quorate_at >= CUT_OFF_S

    async def catch_up(self) -> None:
        """A node whose corosync ended for its old version takes a peer's newer one and starts it anew.

        So does one whose corosync runs and meets nobody: the others may expect it at another address.
        """
        cut_off = self._cut_off()
        if self._peers is None or not self._host.authkey.exists() or self._changing():
            return
        runs = await asyncio.to_thread(running_version) is not None
        if runs and (not cut_off or (await asyncio.to_thread(see)).quorate):
            return
        local = self._local()
        if local is None:
            return
        best = local
        for node in local.nodes:
            if node.name == self._store.node:
                continue
            try:
                answer = await self._peers.call(node.name, "GET", ASKED, timeout=ASK_S)
                theirs = Configuration.read(str(answer))
            except KvorumError as error:
                _logger.info("%s was asked for its version of corosync.conf: %s", node.name, error)
                continue
            if theirs.cluster_name == local.cluster_name and theirs.config_version > best.config_version:
                best = theirs
        if best is local and (runs or not self._untried(local)):
            return
        if best.node(self._store.node) is None:
            if _by_another_name(local, best, self._store.node):
                return
            _logger.error("the cluster's configuration no longer has this node '%s'", self._store.node)
            return
        if self._changing():
            return  # it began while the others were asked
        _logger.warning(
            "corosync meets nobody; this node has version %d of corosync.conf, the cluster %d: it is started",
            local.config_version,
            best.config_version,
        )
        try:
            if best is local:
                self._starts += 1
            else:
                self._host.write_configuration(best.text)
                self._end()
            await self._host.restart_corosync()
        except (KvorumError, OSError) as error:
            _logger.error("corosync.conf: %s", error)

    def _untried(self, local: Configuration) -> bool:
        """Whether corosync was thrown out for the version before, and the store brought this one since."""
        trial = self._trial
        return trial is not None and trial.version == local.config_version and self._starts < STARTS_MOST

    # What is on disk

    def _local(self) -> Configuration | None:
        try:
            return Configuration.read(self._host.configuration.read_text())
        except (DocumentError, UnicodeDecodeError, FileNotFoundError):
            return None

    def _load(self) -> Trial | None:
        try:
            return Trial(**json.loads(self._journal.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            _logger.error("'%s' can't be read (%s): nothing is on trial", self._journal, error)
            return None

    def _save(self, trial: Trial) -> None:
        durable.write(self._journal, json.dumps(asdict(trial)).encode(), 0o600)

    def _begin(self, trial: Trial) -> None:
        self._save(trial)
        self._trial = trial
        self._starts = 0
        self._since = time.monotonic()

    def _end(self) -> None:
        self._journal.unlink(missing_ok=True)
        self._trial = None


def _by_another_name(old: Configuration | None, new: Configuration, node: str) -> bool:
    """Whether the new configuration has this node under another name: the id stays when a node is renamed."""
    listed = old.node(node) if old is not None else None
    return listed is not None and any(one.nodeid == listed.nodeid for one in new.nodes)


def _no_quorum_by(trial: Trial) -> str:
    return (
        f"version {trial.version} of corosync.conf was taken back: the cluster did not come back quorate "
        f"within {trial.patience_s:g} s"
    )


def see() -> Seen:
    """What this node's corosync says now."""
    try:
        view = look()
    except CorosyncError:
        return Seen(None)
    present = frozenset(member.nodeid for member in view.members)
    return Seen(int(view.config_version), view.local.quorate, present)


def running_version() -> int | None:
    """The config_version that this node's corosync runs with; ``None`` while it does not run."""
    try:
        with Cmap() as cmap:
            return int(cmap.text("totem.config_version", "0"))
    except (CorosyncError, ValueError):
        return None


async def wait_until_followed(store: Store, version: int, *, timeout: float = 15.0) -> list[str]:
    """Wait until corosync on every present node runs at least ``version``; return who does not yet."""

    async def behind() -> list[str]:
        told = store.published(VERSION_KEY)
        left = [m.name for m in store.membership.members if m.online and number(told.get(m.name)) < version]
        if store.node in left and (await asyncio.to_thread(running_version) or 0) >= version:
            left.remove(store.node)  # alone among two it has no quorum now, and may not be able to tell
        return left

    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while (left := await behind()) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # the store gives no event for what is published
    return left


def _reload() -> None:
    """Raises ``NotNow`` where corosync could not be asked, ``KvorumError`` where it refuses the file."""
    until = time.monotonic() + RELOAD_S
    while True:
        try:
            with Cfg() as cfg:
                cfg.reload()
            return
        except CorosyncBusy as error:  # others reload too, or the membership changes
            if time.monotonic() >= until:
                raise NotNow(f"corosync could not reload its configuration yet: {error}") from error
            time.sleep(RELOAD_AGAIN_S)
        except CorosyncGone as error:
            raise NotNow(f"corosync ended before it reloaded its configuration: {error}") from error
        except CorosyncError as error:
            raise KvorumError(f"corosync did not reload its configuration: {error}") from error
