"""A node has another address on link 0: it stands aside and comes back with it, or all is as before."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from relink_world import PowerCut, World, configuration

from kvorum.cluster.leave.removal import draft
from kvorum.cluster.relink.readdress import Readdress, refusals, stands_aside
from kvorum.cluster.relink.under_way import FILE, UnderWay
from kvorum.core.errors import Conflict, KvorumError
from kvorum.corosync import Configuration

OLD = configuration()
NEW_ADDRESS = "10.5.0.3"
THREE = frozenset({1, 2, 3})


def moving(now: Configuration = OLD, node: str = "n3", address: str = NEW_ADDRESS) -> Readdress:
    listed = now.node(node)
    assert listed is not None
    return Readdress.of(now, listed, address)


TWO = OLD.without_node("n2")


def holds(world: World, old: Configuration = OLD) -> None:
    """No version moved an address in place, or lost what the node had besides."""
    for before, after in itertools.pairwise([old, *world.store.versions]):
        if before.text == after.text:
            continue
        assert after.config_version > before.config_version
        for node in before.nodes:
            now = after.node(node.name)
            assert now is None or now == node
            assert now is not None or node.name == "n3"


def has(world: World, address: str, old: Configuration = OLD) -> bool:
    """Whether all is as before but for the address."""
    was, now = old.node("n3"), world.now.node("n3")
    assert was is not None
    rest = {name: world.now.node(name) for name in ("n1", "n2") if old.node(name)}
    assert rest == {name: old.node(name) for name in rest}
    return now is not None and dict(now.addresses) == {**was.addresses, 0: address} and now.votes == was.votes


async def settle(world: World) -> None:
    task = asyncio.create_task(world.relinker().tend(world.log.append))
    async with asyncio.timeout(10):
        while world.store.read(FILE) is not None:
            world.meet()
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("old", [OLD, TWO], ids=["three", "two"])
async def test_a_node_stands_aside_and_comes_back_with_another_address(old: Configuration) -> None:
    world = World()
    await world.begin(text=old.text)
    await world.relinker().check(moving(old))
    await world.relinker().carry_out(moving(old), "root@pam", world.log.append)
    without, anew = world.store.versions[-2:]
    assert without.node("n3") is None and [n.name for n in without.nodes] == [
        n.name for n in old.nodes if n.name != "n3"
    ]
    assert has(world, NEW_ADDRESS, old) and anew.text == world.now.text
    assert world.store.read(FILE) is None
    holds(world, old)


@pytest.mark.parametrize("old", [OLD, TWO], ids=["three", "two"])
async def test_power_cut_at_any_moment_the_node_has_one_address_or_the_other(old: Configuration) -> None:
    cut = 0
    while True:
        world = World()
        await world.begin(text=old.text)
        world.store.moments, world.store.cut_at = 0, cut
        try:
            await world.relinker().carry_out(moving(old), "root@pam", world.log.append)
            break  # no moment is left
        except PowerCut:
            world.store.cut_at = -1
        await settle(world)
        assert has(world, "10.0.0.3", old) or has(world, NEW_ADDRESS, old), f"cut at moment {cut}"
        holds(world, old)
        if not has(world, NEW_ADDRESS, old):
            world.meet()
            await world.relinker().carry_out(moving(world.now), "root@pam", world.log.append)
        assert has(world, NEW_ADDRESS, old)
        cut += 1
    assert cut >= 5


@pytest.mark.parametrize("old", [OLD, TWO], ids=["three", "two"])
async def test_a_node_that_does_not_come_back_has_its_former_address_again(old: Configuration) -> None:
    """Of two the one that stays has no quorum then, and expects what it had without the other."""
    world = World()
    await world.begin(text=old.text)
    world.unusable.add(NEW_ADDRESS)
    said = r"node 'n3' is not back within .*UDP port 5405.*set back as it was"
    with pytest.raises(KvorumError, match=said):
        await world.relinker().carry_out(moving(old), "root@pam", world.log.append)
    assert has(world, "10.0.0.3", old) and world.store.read(FILE) is None
    assert world.expected == (1 if old is TWO else 99)


async def test_the_first_that_is_here_ends_what_a_node_began_that_is_off(world: World) -> None:
    heavy = OLD.with_votes("n1", 2)
    await world.store.write(FILE, UnderWay(moving(heavy), "n2").text())
    await world.store.write("corosync.conf", heavy.without_node("n3").bumped().text)
    world.online = ("n1", "n3")
    await settle(world)
    assert has(world, "10.0.0.3", heavy)
    assert "taking it back" in world.log[0]


async def test_what_another_began_that_is_here_is_left_to_it(world: World) -> None:
    await world.store.write(FILE, UnderWay(moving(), "n2").text())
    task = asyncio.create_task(world.relinker().tend(world.log.append))
    for _ in range(20):
        world.meet()
        await asyncio.sleep(0)
    assert world.store.read(FILE) is not None and not world.log
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_is_kept_as_text() -> None:
    under = UnderWay(moving(), "n1")
    assert UnderWay.read(under.text()) == under
    assert UnderWay.read(under.text()).change.aside == "n3"


def test_only_the_node_that_the_change_is_about_stands_aside() -> None:
    without = OLD.without_node("n3").bumped()
    assert stands_aside(moving(), "n3", without)
    assert not stands_aside(moving(), "n2", without) and not stands_aside(moving(), "n3", OLD)


HEAVY = OLD.with_votes("n3", 2).without_node("n2")
REFUSED = [
    (OLD, moving(), "n3", THREE, "run 'pvecm link set n3 --link0 10.5.0.3' on n1"),
    (OLD, moving(), "n1", THREE - {3}, "node 'n3' is off, and has to fetch its new address"),
    (OLD, moving(), "n3", frozenset({3}), "node 'n3' is alone now"),
    (OLD, moving(), "n1", THREE - {2}, "would have 1 of the 2 votes needed"),
    (HEAVY, moving(HEAVY), "n1", frozenset({1, 3}), "too large for one step"),
]


@pytest.mark.parametrize(
    ("now", "change", "here", "present", "sentence"), REFUSED, ids=[r[4] for r in REFUSED]
)
def test_who_can_not_stand_aside_does_not(
    now: Configuration, change: Readdress, here: str, present: frozenset[int], sentence: str
) -> None:
    assert sentence in "\n".join(refusals(now, change, here, present))


async def test_all_is_asked_before_anything_is_changed(world: World) -> None:
    world.says = {"n2": ["n2 does not reach n3"]}
    with pytest.raises(Conflict, match="n2 does not reach n3"):
        await world.relinker().check(moving())
    with pytest.raises(Conflict, match=r"address '10.0.0.2' is given for both"):
        await world.relinker().check(moving(address="10.0.0.2"))


async def test_a_node_that_is_removed_is_not_listed_again(world: World) -> None:
    await world.store.write(FILE, UnderWay(moving(), "n2").text())
    removal = draft(world.store, "n3", "root@pam", 0.0)
    other = draft(world.store, "n2", "root@pam", 0.0)
    assert removal is not None and other is not None
    assert FILE in [operation.path for operation in removal.operations]
    assert FILE not in [operation.path for operation in other.operations]
