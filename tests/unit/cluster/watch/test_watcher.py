"""A node looks after its links and its peers' clocks, over real TLS, and says what changed once."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from kvorum.cluster import certificates
from kvorum.cluster.methods.links import LinksRow, link_status
from kvorum.cluster.node_files import CA, CA_KEY
from kvorum.cluster.watch import watcher
from kvorum.cluster.watch.links import Counted, Key
from kvorum.cluster.watch.report import KEY, Report, decode, encode, warnings
from kvorum.cluster.watch.watcher import Watcher
from kvorum.corosync import CorosyncGone
from kvorum.interface import Context, NoParameters
from kvorum.store import Member, Membership

N1, N2 = Member("n1", 1, "127.0.0.1", True), Member("n2", 2, "127.0.0.1", True)


class Counters:
    """What Corosync counts."""

    def __init__(self) -> None:
        self.lost, self.connected, self.gone, self.pings = 0.0, True, False, 0

    def __call__(self, keys: list[Key]) -> dict[Key, Counted]:
        if self.gone:
            raise CorosyncGone("cmap_initialize", "CS_ERR_LIBRARY", "corosync does not run")
        return {
            key: Counted(self.connected, 300, self.pings, round(self.pings * (1 - self.lost)), 0)
            for key in keys
        }


class Clock:
    """n2's page, as far as it tells the time."""

    def __init__(self) -> None:
        self.ahead, self.asked, self.port = 0.0, 0, 0


@pytest.fixture
async def two(ctx: Context, tmp_path: Path) -> AsyncIterator[tuple[Context, Clock]]:
    """n1's context beside a second node that answers at 127.0.0.1 under its certificate of the cluster."""
    store = ctx.store
    store.set_membership(Membership("home", (N1, N2), quorate=True, version=2, config_version=1))
    authority, key = store.read(CA), store.read(CA_KEY)
    assert authority and key
    pair = certificates.make_node(
        certificates.Pair(authority.data, key.data), "n2", "n2", ["127.0.0.1"],
        datetime.datetime.now(datetime.UTC),
    )  # fmt: skip
    await store.write("nodes/n2/pve-ssl.pem", pair.certificate.decode())
    (tmp_path / "n2.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "n2.pem")
    clock = Clock()

    async def answer(request: web.Request) -> web.Response:
        clock.asked += 1
        return web.json_response({"data": time.time() + clock.ahead})

    app = web.Application()
    app.router.add_get(watcher.CLOCK, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    clock.port = runner.addresses[0][1]
    yield ctx, clock
    await runner.cleanup()


async def told(ctx: Context) -> LinksRow:
    return await link_status(ctx, NoParameters())


async def test_links_and_clocks_are_told_to_all(two: tuple[Context, Clock]) -> None:
    ctx, clock = two
    counters = Counters()
    it = Watcher(ctx.store, count=counters, port=clock.port)
    assert (await told(ctx))["silent"] == ["n1", "n2"]
    await it.look(0)
    counters.pings = 40
    await it.look(10)
    row = await told(ctx)
    (link,) = row["links"]
    assert link["node"] == "n1" and link["to"] == "n2" and link["connected"] and link["loss_percent"] == 0.0
    assert link["address"] == "10.0.0.1" and link["latency_us"] == 300
    (one,) = row["clocks"]
    assert one["to"] == "n2" and abs(one["ahead_ms"]) <= one["unsure_ms"] + 1
    assert row["warnings"] == [] and row["silent"] == ["n2"]
    assert clock.asked == 3  # once a minute, however often links are looked at


async def test_what_is_wrong_is_said_once_and_so_is_its_end(two: tuple[Context, Clock]) -> None:
    ctx, clock = two
    counters, notes = Counters(), []
    clock.ahead = 300
    it = Watcher(ctx.store, notes.append, count=counters, port=clock.port)
    counters.connected = False
    for at in (0, 10, 20):
        await it.look(at)
    assert len(notes) == 2
    assert any(note.startswith("Link 0 between n1 and n2 is down") for note in notes)
    assert any(note.startswith("The clocks of n1 and n2 are 300 s apart") for note in notes)
    assert [w["kind"] for w in (await told(ctx))["warnings"]] == ["clock-apart", "link-down"]
    counters.connected, clock.ahead = True, 0.0
    await it.look(60)
    await it.look(70)
    assert notes[2:] == ["no more clock-apart: n1, n2", "no more link-down: link 0 between n1 and n2"]
    assert (await told(ctx))["warnings"] == []


async def test_a_peer_that_is_no_node_of_ours_is_not_believed(
    two: tuple[Context, Clock], caplog: pytest.LogCaptureFixture
) -> None:
    ctx, clock = two
    listed = ctx.store.read("nodes/n1/pve-ssl.pem")
    assert listed is not None
    await ctx.store.write("nodes/n2/pve-ssl.pem", listed.text)  # the CA signed what answers, nobody lists it
    report = await Watcher(ctx.store, count=Counters(), port=clock.port).look(0)
    assert report.clocks == () and clock.asked == 0


async def test_without_corosync_nothing_is_told_of_links(two: tuple[Context, Clock]) -> None:
    ctx, clock = two
    counters = Counters()
    it = Watcher(ctx.store, count=counters, port=clock.port)
    await it.look(0)
    counters.gone = True
    assert (await it.look(10)).links == ()
    counters.gone = False
    assert len((await it.look(20)).links) == 1


async def test_both_ends_of_a_link_make_one_warning(two: tuple[Context, Clock]) -> None:
    ctx, clock = two
    counters = Counters()
    counters.connected = False
    report = await Watcher(ctx.store, count=counters, port=clock.port).look(0)
    both = decode({"n1": encode(report), "n2": encode(report), "n3": b"of another version"})
    assert set(both) == {"n1", "n2"}
    assert len(warnings(both)) == 1
    assert decode({"n1": encode(Report())}) == {"n1": Report()}
    assert ctx.store.published(KEY)
