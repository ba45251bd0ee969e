"""Carries out a change of a link: asks all nodes, writes each version, waits for the link, or goes back.

The change under way stands in the store with the version that it is at, written in one transaction. Whoever
began it ends it: by itself, or at its daemon's next start; where that node is off, another one does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from kvorum.cluster.change import CONFIGURATION, Log
from kvorum.cluster.expected import expect_votes, wait_quorate
from kvorum.cluster.relink import readdress
from kvorum.cluster.relink.change import Change, ending, refusals
from kvorum.cluster.relink.readdress import Readdress
from kvorum.cluster.relink.under_way import FILE, UnderWay
from kvorum.core.errors import Conflict, KvorumError, OutcomeUnknown
from kvorum.corosync import Configuration, judge
from kvorum.interface import Peers
from kvorum.store import Delete, Expect, File, Operation, Store, Write

CONNECT_S = 15.0
"""How long all nodes have to be connected over the new addresses."""
ASIDE_TIMES = 3
"""How many times as long, where a node's corosync starts anew for it."""
_LOOK_S = 0.3
_ATTEMPTS = 10
CHECK = "/kvorum/nodes/{node}/links/check"
ADDRESSES = "/kvorum/nodes/{node}/links/addresses"
CONNECTED = "/kvorum/nodes/{node}/links/connected"

Followed = Callable[[int], Awaitable[list[str]]]
"""Waits until all present nodes run a version; returns who does not."""


class Relinker:
    """Changes links, one change at a time."""

    def __init__(
        self,
        store: Store,
        peers: Peers,
        followed: Followed,
        connect_s: float = CONNECT_S,
        expect: Callable[[int], None] = expect_votes,
    ) -> None:
        self._store, self._peers, self._followed, self._expect = store, peers, followed, expect
        self._connect_s = connect_s
        self._alone = asyncio.Lock()

    # Asked first

    async def check(self, change: Change, *, force: bool = False) -> None:
        """Raise ``Conflict`` with everything that stands against a change, as all nodes see it."""
        _, now = self._configured()
        online = self._online()
        found = refusals(now, change, online, force=force)
        if isinstance(change, Readdress):
            found += readdress.refusals(now, change, self._store.node, set(self._ids_online().values()))
        if found:
            raise Conflict("\n".join(found))
        self._nobody_else()
        if change.after:
            found = await self._unreached(change, online)
        else:
            found = await self._cut_off(now, change.link, online)
        if found:
            raise Conflict("\n".join(found))

    async def _unreached(self, change: Change, online: set[str]) -> list[str]:
        """What nodes say of the addresses: those that move, towards all, and all towards those."""

        async def ask(node: str) -> list[str]:
            moved = node in change.moved
            others = {
                name: address
                for name, address in change.after.items()
                if name != node and name in online and (moved or name in change.moved)
            }
            words = ",".join(f"{name}={address}" for name, address in others.items())
            try:
                answer = await self._peers.call(
                    node, "POST", CHECK.format(node=node), {"address": change.after[node], "others": words}
                )
            except KvorumError as error:
                return [f"node '{node}' can't be asked: {error}"]
            return [str(line) for line in answer] if isinstance(answer, list) else []

        found = await asyncio.gather(*(ask(node) for node in sorted(online & set(change.after))))
        return [line for lines in found for line in lines]

    async def _cut_off(self, now: Configuration, link: int, online: set[str]) -> list[str]:
        """The pairs of nodes that only this link connects."""
        found = []
        for node, connected in (await self._connections(online)).items():
            for other in sorted(online - {node}):
                left = {number for number in connected.get(other, set()) if number != link}
                if not left and node < other:
                    found.append(
                        f"no other link connects {node} and {other} now: mend one first (pvecm link status)"
                    )
        return found

    # Carried out

    async def carry_out(self, change: Change, who: str, log: Log) -> None:
        """Make the change; raises ``KvorumError`` with the reason once everything is as it was before."""
        async with self._alone:
            self._nobody_else()
            try:
                await self._go(change, who, log, begins=True)
                await self._connected(change)
            except (KvorumError, ValueError, asyncio.CancelledError) as error:
                await asyncio.shield(self._back(change, who, log, error))
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise KvorumError(f"{error}; everything was set back as it was") from None
            await self._end(who)

    async def _back(self, change: Change, who: str, log: Log, error: BaseException) -> None:
        """Undo what was begun; what can't be undone now is when there is quorum again (``tend``)."""
        if isinstance(error, OutcomeUnknown):
            await self._store.transact((), who=who)  # the mirror is behind nothing after that
        under = self.under_way()
        if under is None or under.node != self._store.node or under.change != change:
            return  # the first version was not taken
        log(f"{str(error) or 'stopped by the user'}: taking it back")
        await self._go(change.back, who, log, back=True)
        await self._end(who)

    async def tend(self, log: Log) -> None:
        """End what was broken off here: at once where there is quorum, and whenever it comes back."""
        async for membership in self._store.watch_membership():
            if membership.cluster is None or not membership.quorate or self._alone.locked():
                continue
            try:
                async with self._alone:
                    under = self.under_way()
                    if under is not None and self._ends(under):
                        await self._recover(under, log)
            except KvorumError as error:
                log(f"a change of links that was broken off can't be ended yet: {error}")

    def _ends(self, under: UnderWay) -> bool:
        """Whether this node ends it: what it began itself, and the first node what one began that is off."""
        online = self._online()
        return under.node == self._store.node or (
            under.node not in online and self._store.node == min(online, default="")
        )

    def under_way(self) -> UnderWay | None:
        """The change that was begun and has not ended; raises ``KvorumError`` when it can't be read."""
        file = self._store.read(FILE)
        try:
            return UnderWay.read(file.text) if file is not None else None
        except ValueError as error:
            raise KvorumError(str(error)) from None

    async def take_over(self, log: Log) -> None:
        """End what a node began that is off, or in the cluster no more."""
        async with self._alone:
            under = self.under_way()
            if under is not None and under.node not in self._online():
                await self._recover(under, log)

    async def _recover(self, under: UnderWay, log: Log) -> None:
        _, now = self._configured()
        names = {node.name for node in now.nodes}
        change = under.change
        for gone in sorted((set(change.before) | set(change.after)) - names - {change.aside}):
            change = change.without(gone)
        way = ending(now, change)
        what = "it was done" if way is change else "taking it back"
        log(f"an unfinished change of link {change.link} was found: {what}")
        try:
            await self._go(way, "pvecm link", log, back=True)
        except ValueError as error:
            log(str(error))
        await self._end("pvecm link")

    def _nobody_else(self) -> None:
        under = self.under_way()
        if under is not None and under.node in self._online():
            raise Conflict(
                f"node '{under.node}' is just changing link {under.change.link}: one change at a time, try "
                "again when it has ended"
            )

    async def _go(
        self, change: Change, who: str, log: Log, *, begins: bool = False, back: bool = False
    ) -> None:
        """One version after the other, each followed by all present nodes; on the way back, who can."""
        for _ in range(_ATTEMPTS):
            file, now = self._configured()
            new = change.next_version(now)
            if new is None:
                return
            log(f"{change.said(new)} (version {new.config_version})")
            if back:
                await self._quorate_without(change, now)
            await self._write(file, now, new, change, who, begins=begins)
            begins = False
            if late := await self._followed(new.config_version):
                said = (
                    f"corosync on {', '.join(late)} does not run version {new.config_version} of "
                    "corosync.conf: look at pvedaemon there"
                )
                if not back:
                    raise KvorumError(said)
                log(said)
        raise Conflict("corosync.conf changed at every attempt; try again")

    async def _write(
        self, file: File, now: Configuration, new: Configuration, change: Change, who: str, *, begins: bool
    ) -> None:
        present = readdress.counted_present(change, new, self._ids_online())
        if errors := judge(now, new.text, present, kept=not change.aside).errors:
            raise Conflict("; ".join(errors))
        operations: list[Operation] = [Write(CONFIGURATION, new.text.encode())]
        expect = [Expect.of(file)]
        if begins:
            operations.append(Write(FILE, UnderWay(change, self._store.node).text().encode()))
            expect.append(Expect(FILE, None))
        try:
            await self._store.transact(operations, expect, who=who)
        except OutcomeUnknown:
            there = self._store.read(CONFIGURATION)
            if there is None or there.text != new.text:
                raise

    async def _end(self, who: str) -> None:
        if self._store.read(FILE) is not None:
            with contextlib.suppress(Conflict):  # it is gone already
                await self._store.transact([Delete(FILE)], who=who)

    async def _connected(self, change: Change) -> None:
        """Until each present node is connected to each other over the link; raises ``KvorumError`` if not."""
        if not change.after:
            return
        loop = asyncio.get_running_loop()
        patience_s = self._connect_s * (ASIDE_TIMES if change.aside else 1)
        until = loop.time() + patience_s
        while True:
            _, now = self._configured()
            if not change.reached(now):
                raise KvorumError(f"corosync.conf was changed meanwhile, and link {change.link} with it")
            online = self._online()
            away = bool(change.aside) and change.aside not in online
            lacking = [
                f"{node} and {other}"
                for node, connected in (await self._connections(online)).items()
                for other in sorted(online - {node})
                if node < other and change.link not in connected.get(other, set())
            ]
            if not lacking and not away and self._store.membership.quorate:
                return
            if loop.time() > until:
                what = (
                    f"node '{change.aside}' is not back"
                    if away
                    else f"link {change.link} does not connect {'; '.join(lacking) or 'a quorum'}"
                )
                raise KvorumError(
                    f"{what} within {patience_s:g} s "
                    f"(UDP port {5405 + change.link} between its addresses must be open)"
                )
            await asyncio.sleep(_LOOK_S)  # corosync tells no event of a link

    async def _connections(self, online: set[str]) -> Mapping[str, Mapping[str, set[int]]]:
        """For each node, the links that connect it to each other one, by its own corosync's word."""

        async def ask(node: str) -> tuple[str, Mapping[str, set[int]]]:
            try:
                answer = await self._peers.call(node, "GET", CONNECTED.format(node=node))
            except KvorumError:
                return node, {}
            rows = answer if isinstance(answer, dict) else {}
            return node, {str(other): {int(link) for link in numbers} for other, numbers in rows.items()}

        return dict(await asyncio.gather(*(ask(node) for node in sorted(online))))

    async def _quorate_without(self, change: Change, now: Configuration) -> None:
        """Of two nodes the one that stays has quorum only with the other listed no more, or not expected.

        As ``withdrawing`` does it: whoever stands aside has no majority by any version (``judge``).
        """
        if self._store.membership.quorate or not change.aside or change.aside in self._online():
            return
        listed = now.node(change.aside)
        await asyncio.to_thread(self._expect, now.total_votes - (listed.votes if listed is not None else 0))
        await wait_quorate(self._store)

    def _online(self) -> set[str]:
        return set(self._ids_online())

    def _ids_online(self) -> dict[str, int]:
        return {member.name: member.nodeid for member in self._store.membership.members if member.online}

    def _configured(self) -> tuple[File, Configuration]:
        file = self._store.read(CONFIGURATION)
        if file is None:
            raise Conflict("this node is not in a cluster: there is no link to change")
        return file, Configuration.read(file.text)
