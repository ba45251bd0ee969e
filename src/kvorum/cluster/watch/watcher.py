"""Looks after this node's links and its peers' clocks, tells the others, and says once what has changed.

Links are read from Corosync's statistics every 10 s (it tells no event of them). Clocks are asked for every
minute over TLS between the nodes, not carried in what nodes publish: there nobody knows how long a message
was under way, while an answer has a round trip of which half is the error. No ticket goes with the question:
a node whose clock is minutes off refuses tickets, and is the very one to be found.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

import aiohttp

from kvorum.cluster.change import CONFIGURATION
from kvorum.cluster.node_files import trusting_nodes
from kvorum.cluster.watch import clocks, links
from kvorum.cluster.watch.counted import counted
from kvorum.cluster.watch.report import KEY, ClockRow, LinkRow, Report, Warning, encode
from kvorum.core.errors import KvorumError
from kvorum.corosync import Configuration, CorosyncError, DocumentError
from kvorum.store import Member, Store
from kvorum.store.membership import WARNED

EVERY_S = 10.0
CLOCKS_EVERY_S = 60.0
CLOCK = "/api2/json/kvorum/cluster/clock"
PORT = 8006
_ASKED = 3
_STATISTICS_S = 3.0
_LIMIT = aiohttp.ClientTimeout(total=5, connect=3)
_logger = logging.getLogger(__name__)


class Watcher:
    """One node's eye on its links and clocks."""

    def __init__(
        self,
        store: Store,
        note: Callable[[str], None] = lambda _: None,
        *,
        count: Callable[[list[links.Key]], dict[links.Key, links.Counted]] | None = None,
        port: int = PORT,
    ) -> None:
        """``note`` puts a sentence into the cluster's log; ``count`` asks Corosync (tests have their own)."""
        self._store, self._note, self._port = store, note, port
        self._count = count or counted
        self._samples: tuple[links.Sample, ...] = ()
        self._offsets: dict[str, tuple[clocks.Offset, int]] = {}
        self._clocks_at = float("-inf")
        self._links_wrong: frozenset[links.Trouble] = frozenset()
        self._clocks_wrong: frozenset[str] = frozenset()
        self._said: frozenset[tuple[str, tuple[str, ...], int | None]] = frozenset()

    async def watch(self) -> None:
        """Look, and tell, until cancelled."""
        while True:
            try:
                await self.look()
            except (KvorumError, OSError) as error:
                _logger.info("links and clocks can't be looked at now: %s", error)
            await asyncio.sleep(EVERY_S)

    async def look(self, now: float | None = None) -> Report:
        """Look once at the links, and at the clocks if it is time, and publish what was found."""
        now = time.monotonic() if now is None else now
        membership = self._store.membership
        if membership.cluster is None:
            return Report()
        others = [member for member in membership.members if member.name != self._store.node]
        numbers = links_of(self._store)
        keys = [(member.nodeid, link) for member in others for link in numbers]
        try:
            async with asyncio.timeout(_STATISTICS_S):
                sample = links.Sample(now, await asyncio.to_thread(self._count, keys))
        except (CorosyncError, TimeoutError):
            sample = links.Sample(now, {})  # corosync ended, or stands still: nothing is known of links
        self._samples = links.kept(self._samples, sample)
        if now - self._clocks_at >= CLOCKS_EVERY_S:
            self._clocks_at = now
            await self._ask_clocks([member for member in others if member.online])
        report = self._report(others, len(numbers))
        self._say(report)
        await self._store.publish(KEY, encode(report), ttl=4 * EVERY_S)
        ours = [one.sentence for one in report.warnings if one.nodes[0] == self._store.node]
        if ours or self._store.published(WARNED).get(self._store.node):
            await self._store.publish(WARNED, "\n".join(ours).encode(), ttl=4 * EVERY_S)
        return report

    def _report(self, others: list[Member], count: int) -> Report:
        here = self._store.node
        names = {member.nodeid: member.name for member in others}
        online = {member.name for member in others if member.online}
        states = links.measured(self._samples)
        members = {nodeid for nodeid, name in names.items() if name in online}
        self._links_wrong = links.troubles(states, members, self._links_wrong)
        self._offsets = {node: told for node, told in self._offsets.items() if node in online}
        offsets = {node: one for node, (one, _) in self._offsets.items()}
        self._clocks_wrong = clocks.wrong(here, offsets, self._clocks_wrong)
        by_key = {(state.nodeid, state.link): state for state in states}
        found = []
        for one in self._links_wrong:
            pair = min(here, names[one.nodeid]), max(here, names[one.nodeid])
            said = links.sentence(one, by_key[one.nodeid, one.link], pair, count)
            found.append(Warning(f"link-{one.kind}", pair, one.link, said))
        for node in self._clocks_wrong:
            about = (node,) if len(offsets) > 1 else tuple(sorted((here, node)))
            found.append(Warning("clock-apart", about, None, clocks.sentence(node, here, offsets)))
        found.sort(key=lambda one: (one.kind, one.nodes, one.link or 0))
        rows = [
            LinkRow(names[s.nodeid], s.link, s.connected, s.latency_us, s.loss_percent, s.downs)
            for s in states
            if s.nodeid in names
        ]
        told = [
            ClockRow(node, round(1000 * one.ahead_s, 1), round(1000 * one.unsure_s, 1), asked)
            for node, (one, asked) in sorted(self._offsets.items())
        ]
        return Report(tuple(rows), tuple(told), tuple(found))

    def _say(self, report: Report) -> None:
        """Each thing once when it begins, and that it is over: here, and in the cluster's log by one node.

        Of a link its first node tells, by name; of a wrong clock the node that has it.
        """
        now = {(one.kind, one.nodes, one.link): one.sentence for one in report.warnings}
        for key in sorted(now.keys() - self._said, key=str):
            _logger.warning("%s", now[key])
            if key[1][0] == self._store.node:
                self._note(now[key])
        for kind, nodes, link in sorted(self._said - now.keys(), key=str):
            what = f"link {link} between {' and '.join(nodes)}" if link is not None else ", ".join(nodes)
            _logger.info("over: %s, %s", kind, what)
            if nodes[0] == self._store.node:
                self._note(f"no more {kind}: {what}")
        self._said = frozenset(now)

    async def _ask_clocks(self, others: list[Member]) -> None:
        context = trusting_nodes(self._store)
        if context is None or not others:
            return
        async with aiohttp.ClientSession(timeout=_LIMIT) as session:
            found = await asyncio.gather(*(self._ask(session, context, one) for one in others))
        for member, answers in zip(others, found, strict=True):
            one = clocks.offset(answers)
            if one is not None:
                self._offsets[member.name] = one, int(time.time())
            else:
                self._offsets.pop(member.name, None)

    async def _ask(
        self, session: aiohttp.ClientSession, context: ssl.SSLContext, member: Member
    ) -> list[clocks.Answer]:
        host = f"[{member.address}]" if ":" in member.address else member.address
        answers = []
        try:
            for _ in range(_ASKED):  # the first has the handshake in it
                asked = time.time()
                async with session.get(
                    f"https://{host}:{self._port}{CLOCK}",
                    ssl=context,
                    server_hostname=f"{member.name}.nodes.kvorum",
                ) as response:
                    body = await response.json(content_type=None)
                    answers.append(clocks.Answer(asked, float(body["data"]), time.time()))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            _logger.info("node '%s' can't be asked for its clock: %s", member.name, error)
        return answers


def links_of(store: Store) -> tuple[int, ...]:
    """The numbers of the cluster's links."""
    file = store.read(CONFIGURATION)
    try:
        return Configuration.read(file.text).links if file is not None else ()
    except DocumentError:
        return ()
