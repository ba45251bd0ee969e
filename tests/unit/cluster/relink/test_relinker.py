"""A link's change is carried out or taken back, also when who makes it loses power at any moment."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from relink_world import PowerCut, World, configuration

from kvorum.cluster.relink.change import Change, added, addresses_of, moved, removed
from kvorum.cluster.relink.under_way import FILE, UnderWay
from kvorum.core.errors import Conflict, KvorumError
from kvorum.store import Operation, Write

OLD = configuration()
NEW = {"n1": "10.2.0.1", "n2": "10.2.0.2", "n3": "10.2.0.3"}
CHANGES = {
    "move": moved(OLD, 1, "n3", "10.1.0.33", None),
    "add": added(OLD, 2, NEW, 3),
    "remove": removed(OLD, 1),
}


def holds(world: World) -> None:
    """No version moved an address in place or touched link 0, and each is newer than the one before."""
    versions = [OLD, *world.store.versions]
    for old, new in itertools.pairwise(versions):
        assert 0 in new.links
        if new.text == old.text:
            continue
        assert new.config_version > old.config_version
        for link in set(old.links) & set(new.links):
            assert addresses_of(old, link) == addresses_of(new, link)


async def settle(world: World) -> None:
    """A daemon starts and ends what was broken off."""
    task = asyncio.create_task(world.relinker().tend(world.log.append))
    async with asyncio.timeout(10):
        while world.store.read(FILE) is not None:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_made_and_leaves_nothing_behind(world: World, name: str) -> None:
    change = CHANGES[name]
    await world.relinker().check(change)
    await world.relinker().carry_out(change, "root@pam", world.log.append)
    assert addresses_of(world.now, change.link) == dict(change.after)
    assert world.store.read(FILE) is None
    holds(world)


@pytest.mark.parametrize("name", CHANGES)
async def test_power_cut_at_any_moment_it_is_wholly_done_or_wholly_undone(name: str) -> None:
    change, cut = CHANGES[name], 0
    while True:
        world = World()
        await world.begin()
        world.store.moments, world.store.cut_at = 0, cut
        try:
            await world.relinker().carry_out(change, "root@pam", world.log.append)
            break  # no moment is left
        except PowerCut:
            world.store.cut_at = -1
        await settle(world)
        there = addresses_of(world.now, change.link)
        assert there in (dict(change.before), dict(change.after)), f"cut at moment {cut}"
        assert world.now.link_options(change.link) == (
            dict(change.after_options) if there == dict(change.after) else dict(change.before_options)
        )
        holds(world)
        again = Change(change.link, there, change.after, change.before_options, change.after_options)
        await world.relinker().carry_out(again, "root@pam", world.log.append)  # a second try works
        assert addresses_of(world.now, change.link) == dict(change.after)
        cut += 1
    assert cut >= 5


async def test_a_link_that_does_not_come_up_is_taken_back(world: World) -> None:
    world.unusable.add("10.1.0.33")
    with pytest.raises(KvorumError, match=r"link 1 does not connect n1 and n3; n2 and n3 .*UDP port 5406"):
        await world.relinker().carry_out(CHANGES["move"], "root@pam", world.log.append)
    assert world.now.with_version(5).text == OLD.text
    assert world.store.read(FILE) is None
    holds(world)


async def test_a_node_that_does_not_follow_has_it_taken_back(world: World) -> None:
    world.late = ["n2"]
    with pytest.raises(KvorumError, match=r"corosync on n2 does not run version 6"):
        await world.relinker().carry_out(CHANGES["add"], "root@pam", world.log.append)
    assert world.now.with_version(5).text == OLD.text and world.store.read(FILE) is None


async def test_stopped_by_the_user_it_is_taken_back(world: World) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def followed(version: int) -> list[str]:
        if version == 6:
            reached.set()
            await go_on.wait()
        return []

    world.followed = followed  # type: ignore[method-assign]
    task = asyncio.create_task(world.relinker().carry_out(CHANGES["move"], "root@pam", world.log.append))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.now.with_version(5).text == OLD.text and world.store.read(FILE) is None


async def test_all_nodes_are_asked_about_each_address_that_moves(world: World) -> None:
    await world.relinker().check(CHANGES["move"])
    assert sorted(world.asked) == [
        ("n1", "10.1.0.1", "n3=10.1.0.33"),
        ("n2", "10.1.0.2", "n3=10.1.0.33"),
        ("n3", "10.1.0.33", "n1=10.1.0.1,n2=10.1.0.2"),
    ]
    world.says = {
        "n3": ["address '10.1.0.33' is not configured on node 'n3'"],
        "n1": ["n1 does not reach n3"],
    }
    with pytest.raises(Conflict, match=r"n1 does not reach n3\naddress '10.1.0.33' is not configured"):
        await world.relinker().check(CHANGES["move"])


async def test_the_last_link_between_two_nodes_is_not_removed(world: World) -> None:
    world.down = {0}
    with pytest.raises(Conflict, match="no other link connects n1 and n2"):
        await world.relinker().check(removed(OLD, 1))
    world.down = {1}
    await world.relinker().check(removed(OLD, 1))


async def test_two_changes_at_once_are_one_and_a_refusal(world: World) -> None:
    await world.store.write(FILE, UnderWay(CHANGES["add"], "n2").text())
    for attempt in (
        world.relinker().check(CHANGES["move"]),
        world.relinker().carry_out(CHANGES["move"], "root@pam", world.log.append),
    ):
        with pytest.raises(Conflict, match="node 'n2' is just changing link 2"):
            await attempt
    assert world.now.text == OLD.text


async def test_what_a_node_left_that_is_off_is_ended_by_the_next(world: World) -> None:
    change = CHANGES["move"]
    await world.store.write("corosync.conf", OLD.without_link(1).bumped().text)
    await world.store.write(FILE, UnderWay(change, "n2").text())
    world.members(["n1", "n3"])
    await world.relinker().take_over(world.log.append)
    assert addresses_of(world.now, 1) == dict(change.before) and world.store.read(FILE) is None
    assert "taking it back" in world.log[0]


async def test_a_conflict_before_anything_was_written_takes_nothing_back(world: World) -> None:
    """Another node wrote its change a moment before: that one is not ours to undo."""
    theirs = UnderWay(CHANGES["add"], "n2").text()
    original = type(world.store).transact

    async def transact(operations: Sequence[Operation], *args: object, **more: object) -> int:
        if len(operations) > 1:
            await original(world.store, [Write(FILE, theirs.encode())])
            raise Conflict("the store changed")
        return await original(world.store, operations, *args, **more)  # type: ignore[arg-type]

    world.store.transact = transact  # type: ignore[method-assign,assignment]
    with pytest.raises(KvorumError):
        await world.relinker().carry_out(CHANGES["move"], "root@pam", world.log.append)
    file = world.store.read(FILE)
    assert world.now.text == OLD.text and file is not None and file.text == theirs
