"""The cluster's methods on a store in memory."""

import asyncio
from pathlib import Path

import pytest
from stand_ins import Everything

from kvorum.cluster.change import Cluster
from kvorum.cluster.methods import information, membership
from kvorum.cluster.methods.models import AddNode, JoinInfoOf, NoCluster, OneNode
from kvorum.cluster.service import CorosyncConfiguration, running
from kvorum.core.errors import Conflict, KvorumError, NoQuorum, OutcomeUnknown, ParameterError
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration, ConfiguredNode
from kvorum.interface import Context, Identity, NoParameters, Services
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

N1 = Member(name="n1", nodeid=1, address="10.0.0.1", online=True)


def memory(ctx: Context) -> MemoryStore:
    assert isinstance(ctx.store, MemoryStore)
    return ctx.store


def configuration(ctx: Context) -> Configuration:
    file = ctx.store.read("corosync.conf")
    assert file is not None
    return Configuration.read(file.text)


async def test_a_node_is_added_and_gets_what_it_needs(ctx: Context) -> None:
    answer = await membership.add_node(ctx, AddNode(node="n2", new_node_ip="10.0.0.2", apiversion=1))
    assert answer["corosync_authkey"] == "c2VjcmV0" and answer["warnings"] == []
    assert answer["corosync_conf"] == configuration(ctx).text
    assert configuration(ctx).config_version == 2
    assert "n2" in ctx.store.names("nodes")


async def test_an_addition_of_unknown_fate_is_looked_for_before_it_is_tried_again(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes the quorum that its own answer waits for."""
    transact, fates = MemoryStore.transact, ["lost", "done"]

    async def unknown(store: MemoryStore, *args: object, **kwargs: object) -> int:
        fate = fates.pop(0) if fates else ""
        version = 0 if fate == "lost" else await transact(store, *args, **kwargs)  # type: ignore[arg-type]
        if fate:
            raise OutcomeUnknown("the cluster changed meanwhile")
        return version

    monkeypatch.setattr(MemoryStore, "transact", unknown)
    answer = await membership.add_node(ctx, AddNode(node="n2", new_node_ip="10.0.0.2", apiversion=1))
    assert not fates and answer["corosync_conf"] == configuration(ctx).text
    assert configuration(ctx).config_version == 2


async def test_two_nodes_at_once_get_different_ids(ctx: Context) -> None:
    async def finishes_each() -> None:
        """Each node makes its certificate a moment after it was taken in."""
        async for change in ctx.store.watch("corosync.conf"):
            assert change.file is not None
            newest = Configuration.read(change.file.text).nodes[-1].name
            own = ctx.store.read("nodes/n1/pve-ssl.pem")
            assert own is not None
            joining.append(newest)
            await asyncio.sleep(0.05)
            assert configuration(ctx).nodes[-1].name == newest, "nobody comes between"
            await ctx.store.write(f"nodes/{newest}/pve-ssl.pem", own.data)

    joining: list[str] = []
    joined = asyncio.create_task(finishes_each())
    await asyncio.sleep(0)
    await asyncio.gather(
        *(membership.add_node(ctx, AddNode(node=f"n{n}", new_node_ip=f"10.0.0.{n}")) for n in (2, 3, 4))
    )
    joined.cancel()
    assert sorted(joining) == ["n2", "n3", "n4"]
    assert sorted(node.nodeid for node in configuration(ctx).nodes) == [1, 2, 3, 4]
    assert configuration(ctx).config_version == 4


async def test_without_quorum_nobody_is_added(ctx: Context) -> None:
    memory(ctx).set_membership(Membership("home", (N1,), quorate=False, version=2, reason="n2 is off"))
    with pytest.raises(NoQuorum, match="n2 is off"):
        await membership.add_node(ctx, AddNode(node="n2", new_node_ip="10.0.0.2"))
    assert configuration(ctx).config_version == 1


async def test_a_known_node_is_refused_and_wrong_links_are_named(ctx: Context) -> None:
    with pytest.raises(Conflict, match="can't add existing node 'n1'"):
        await membership.add_node(ctx, AddNode(node="n1", new_node_ip="10.0.0.9"))
    with pytest.raises(ParameterError, match="link0: 'x' is not an IP address"):
        await membership.add_node(ctx, AddNode(node="n2", link0="x"))


async def test_a_node_whose_join_failed_is_taken_off_the_list(ctx: Context) -> None:
    await membership.add_node(ctx, AddNode(node="n2", new_node_ip="10.0.0.2"))
    await membership.withdraw(ctx, OneNode(node="n2"))
    assert [node.name for node in configuration(ctx).nodes] == ["n1"]
    assert configuration(ctx).config_version == 3
    await membership.withdraw(ctx, OneNode(node="n2"))
    with pytest.raises(Conflict, match="is here"):
        await membership.withdraw(ctx, OneNode(node="n1"))


async def test_join_information_is_what_the_dialog_copies(ctx: Context) -> None:
    told = await information.join_information(ctx, JoinInfoOf())
    assert isinstance(told, dict)
    (row,) = told["nodelist"]
    assert row["name"] == "n1" and row["pve_addr"] == row["ring0_addr"] == "10.0.0.1"
    assert len(row["pve_fp"]) == 95
    assert told["preferred_node"] == "n1"
    assert told["totem"]["cluster_name"] == "home"
    assert told["totem"]["interface"] == {"0": {"linknumber": "0"}}
    with pytest.raises(ParameterError):
        await information.join_information(ctx, JoinInfoOf(node="n9"))


async def test_a_node_alone_says_so(tmp_path: Path) -> None:
    ctx = Context(MemoryStore("n1"), Services(), Identity("root@pam"), Everything())
    with pytest.raises(NoCluster, match="no join info available!") as caught:
        await information.join_information(ctx, JoinInfoOf())
    assert caught.value.code == 424
    assert await information.totem(ctx, NoParameters()) is None
    assert await information.nodes(ctx, NoParameters()) == []
    (row,) = await information.status(ctx, NoParameters())
    assert row["type"] == "node" and row["nodeid"] == 0


async def test_status_has_the_cluster_first_then_its_nodes(ctx: Context) -> None:
    rows = await information.status(ctx, NoParameters())
    assert [row["type"] for row in rows] == ["cluster", "node"]
    assert rows[0]["quorate"] is True and rows[0]["nodes"] == 1
    assert rows[1]["local"] is True and rows[1]["ip"] == "10.0.0.1"
    told = await information.quorum(ctx, NoParameters())
    assert told["quorate"] and told["needed"] == 1


async def test_a_newer_configuration_is_written_to_the_node(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = ctx.service(Cluster).host
    reloads: list[str] = []
    monkeypatch.setattr(
        "kvorum.cluster.following._reload", lambda: reloads.append(host.configuration.read_text())
    )
    monkeypatch.setattr("kvorum.cluster.following.running_version", lambda: 1)
    follower = CorosyncConfiguration(ctx.store, host)
    assert follower.apply() is False
    newer = configuration(ctx).with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"})).bumped()
    await ctx.store.write("corosync.conf", newer.text)
    assert follower.apply() is True
    assert reloads == [newer.text]
    older = newer.text.replace("config_version: 2", "config_version: 1")
    await ctx.store.write("corosync.conf", older)
    with pytest.raises(KvorumError, match="config_version is 1, the running cluster has 2"):
        follower.apply()
    await ctx.store.write("corosync.conf", "totem {\n")
    with pytest.raises(KvorumError, match="line 1"):
        follower.apply()
    assert host.configuration.read_text() == newer.text and len(reloads) == 1


async def test_corosync_reloads_only_when_the_change_is_acknowledged(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take away the quorum that the answer still needs: the joining node was told to look again."""
    store, reloaded, loop = ctx.store, asyncio.Event(), asyncio.get_running_loop()
    looked, asked, on_every_disk = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def tell(*_: object, **__: object) -> None:
        looked.set()

    monkeypatch.setattr(store, "publish", tell)
    monkeypatch.setattr("kvorum.cluster.following._reload", lambda: loop.call_soon_threadsafe(reloaded.set))
    monkeypatch.setattr("kvorum.cluster.following.running_version", lambda: 1)
    following = asyncio.create_task(CorosyncConfiguration(store, ctx.service(Cluster).host).follow())
    await asyncio.wait_for(looked.wait(), 10)
    newer = configuration(ctx).with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"})).bumped()

    async def answer_late(*_: object, **__: object) -> int:
        asked.set()
        await on_every_disk.wait()
        return 1

    await store.write("corosync.conf", newer.text)
    monkeypatch.setattr(store, "transact", answer_late)
    try:
        await asyncio.wait_for(asked.wait(), 10)
        assert not reloaded.is_set()
        on_every_disk.set()
        await asyncio.wait_for(reloaded.wait(), 10)
    finally:
        following.cancel()


async def test_what_is_written_but_not_reloaded_is_reloaded(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[int] = []
    monkeypatch.setattr("kvorum.cluster.following._reload", lambda: reloads.append(1))
    monkeypatch.setattr("kvorum.cluster.following.running_version", lambda: 0)
    assert CorosyncConfiguration(ctx.store, ctx.service(Cluster).host).apply() is True
    assert reloads == [1]


async def test_the_service_follows_the_store(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, reloaded, loop = Paths.under(tmp_path), asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(
        "kvorum.cluster.following._reload", lambda: loop.call_soon_threadsafe(reloaded.set) and None
    )
    monkeypatch.setattr("kvorum.cluster.following.running_version", lambda: 1)
    services = Services()
    async with running(services, ctx.store, paths):
        newer = configuration(ctx).with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"})).bumped()
        await ctx.store.write("corosync.conf", newer.text)
        await asyncio.wait_for(reloaded.wait(), 10)
    assert services.get(Cluster).host.configuration.read_text() == newer.text
