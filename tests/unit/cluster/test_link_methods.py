"""``pvecm link add, set, remove`` as they are called: what is asked for is understood, or named as wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kvorum.cluster.methods.models import NoCluster
from kvorum.cluster.methods.relink import Addition, Move, Subtraction, add_link, remove_link, set_link
from kvorum.cluster.relink.changer import ADDRESSES, CHECK, Relinker
from kvorum.core.errors import Conflict, NoQuorum, ParameterError, Unreachable
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.interface import Context, Identity, Peers, Services
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

TWO = (
    new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1", 1: "10.1.0.1"}))
    .with_node(ConfiguredNode("n2", 2, 1, {0: "10.0.0.2", 1: "10.1.0.2"}))
    .bumped()
)
HERE = (Member("n1", 1, "10.0.0.1", True), Member("n2", 2, "10.0.0.2", True))


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    warn = line

    def progress(self, fraction: float, text: str = "") -> None: ...


class Nodes(Peers):
    """All nodes, which are connected over whatever corosync.conf says."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.addresses = {"n1": ["10.0.0.1", "10.2.0.1"], "n2": ["10.0.0.2", "10.2.0.2"]}
        self.away: set[str] = set()

    async def call(
        self, node: str, verb: str, path: str, parameters: Mapping[str, object] | None = None, *,
        timeout: float = 10.0,
    ) -> object:  # fmt: skip
        if node in self.away:
            raise Unreachable(f"can't reach node '{node}'")
        if path == ADDRESSES.format(node=node):
            return self.addresses[node]
        if path == CHECK.format(node=node):
            return []
        return {name: list(configured(self.store).links) for name in ("n1", "n2") if name != node}


def configured(store: MemoryStore) -> Configuration:
    file = store.read("corosync.conf")
    assert file is not None
    return Configuration.read(file.text)


class Anything:
    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return True


async def followed(version: int) -> list[str]:
    return []


@pytest.fixture
async def here() -> tuple[Context, Nodes]:
    store, services = MemoryStore("n1"), Services()
    await store.write("corosync.conf", TWO.text)
    store.set_membership(Membership("home", HERE, quorate=True, version=1, config_version=2))
    nodes = Nodes(store)
    services.add(Peers, nodes)
    services.add(Relinker, Relinker(store, nodes, followed))
    return Context(store, services, Identity("root@pam"), Anything()), nodes


async def test_a_link_is_added_by_its_network_moved_and_removed(here: tuple[Context, Nodes]) -> None:
    ctx, _ = here
    store, log = ctx.store, Log()
    assert isinstance(store, MemoryStore)
    work = await add_link(ctx, Addition(link=2, addresses="10.2.0.0/24", priority=5))
    await work.run(log)
    now = configured(store)
    assert {n.name: n.addresses[2] for n in now.nodes} == {"n1": "10.2.0.1", "n2": "10.2.0.2"}
    assert now.link_options(2) == {"knet_link_priority": "5"}
    work = await set_link(ctx, Move(node="n2", link2="10.2.0.9", link1="10.1.0.9,priority=7"))
    await work.run(log)
    now = configured(store)
    assert now.nodes[1].addresses == {0: "10.0.0.2", 1: "10.1.0.9", 2: "10.2.0.9"}
    assert now.link_options(1) == {"knet_link_priority": "7"} and now.links == (0, 1, 2)
    await (await set_link(ctx, Move(node="n2", link2="10.2.0.9"))).run(log)
    assert log.lines[-1] == "n2 has 10.2.0.9 on link 2 already" and configured(store).text == now.text
    for link in (2, 1):
        await (await remove_link(ctx, Subtraction(link=link))).run(log)
    assert configured(store).links == (0,)
    assert "one link is left" in log.lines[-1]


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        ("10.2.0.0/33", "is neither NODE=ADDRESS"),
        ("10.9.0.0/24", "node 'n1' has none in 10.9.0.0/24"),
        ("10.0.0.0/8", "node 'n1' has 10.0.0.1, 10.2.0.1 in 10.0.0.0/8"),
        ("n1=10.2.0.1,n2=nonsense", "'nonsense' is not an IP address"),
        ("n1=10.2.0.1,n1=10.2.0.2", "node 'n1' is given twice"),
        ("n1=10.2.0.1,=10.2.0.2", "is not NODE=ADDRESS"),
    ],
)
async def test_wrong_addresses_are_named(here: tuple[Context, Nodes], addresses: str, sentence: str) -> None:
    with pytest.raises(ParameterError) as refused:
        await add_link(here[0], Addition(link=2, addresses=addresses))
    assert sentence in refused.value.errors["addresses"]


async def test_what_can_not_be_changed_is_said_before_anything_is(here: tuple[Context, Nodes]) -> None:
    ctx, nodes = here
    with pytest.raises(ParameterError):
        await set_link(ctx, Move(node="n9", link1="10.1.0.9"))
    with pytest.raises(ParameterError):
        await set_link(ctx, Move(node="n2"))
    with pytest.raises(Conflict, match="the cluster has no link 5"):
        await remove_link(ctx, Subtraction(link=5))
    nodes.away = {"n2"}
    with pytest.raises(Conflict, match="node 'n2' can't be asked"):
        await add_link(ctx, Addition(link=2, addresses="n1=10.2.0.1,n2=10.2.0.2"))
    store = ctx.store
    assert isinstance(store, MemoryStore) and configured(store).text == TWO.text
    store.set_membership(Membership("home", HERE, quorate=False, version=2, reason="n2 is missing"))
    with pytest.raises(NoQuorum, match="n2 is missing"):
        await remove_link(ctx, Subtraction(link=1))


async def test_another_node_gives_a_node_its_address_on_link_0(here: tuple[Context, Nodes]) -> None:
    ctx, _ = here
    store, log = ctx.store, Log()
    assert isinstance(store, MemoryStore)
    with pytest.raises(Conflict, match=r"run 'pvecm link set n1 --link0 10.5.0.1' on n2"):
        await set_link(ctx, Move(node="n1", link0="10.5.0.1"))
    with pytest.raises(ParameterError) as refused:
        await set_link(ctx, Move(node="n2", link0="10.5.0.2,priority=7"))
    assert "the priority of link 0 can't change" in refused.value.errors["link0"]
    assert configured(store).text == TWO.text
    await (await set_link(ctx, Move(node="n2", link0="10.5.0.2"))).run(log)
    assert configured(store).nodes[1].addresses == {0: "10.5.0.2", 1: "10.1.0.2"}
    assert log.lines[:2] == [
        "n2 stands aside, and its corosync stops (version 3)",
        "n2 is listed with 10.5.0.2, and its corosync starts (version 4)",
    ]


async def test_a_node_alone_has_no_links() -> None:
    ctx = Context(MemoryStore("n1"), Services(), Identity("root@pam"), Anything())
    with pytest.raises(NoCluster):
        await remove_link(ctx, Subtraction(link=1))
