"""A new network configuration counts once the node is known to be reachable; else the old one is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import Lines

from kvorum.core.errors import Conflict, KvorumError
from kvorum.node import network_apply, network_trial
from kvorum.node.host_files import HostFiles
from kvorum.node.network_apply import NetworkChange
from kvorum.node.network_trial import Sight

OLD, NEW = "# old\n", "# new\n"


class Dead(BaseException):
    """The daemon is gone: nothing of what would come next is done either."""


class World:
    """A node with ifupdown2; ``sight`` says who is reachable with what is loaded."""

    def __init__(self, etc: Path) -> None:
        self.files = HostFiles(etc)
        self.files.write("network/interfaces", OLD)
        self.files.write("network/interfaces.new", NEW)
        self.loaded: list[str] = []
        self.fails_on: set[str] = set()
        self.sight: Callable[[str], Sight] = lambda loaded: Sight()
        self.change = NetworkChange(self.files, self.look)

    async def look(self) -> Sight:
        return self.sight(self.loaded[-1] if self.loaded else OLD)

    async def run(self, command: str, log: object, names: object = ()) -> None:
        text = self.files.read("network/interfaces")
        self.loaded.append(text)
        if text in self.fails_on:
            raise KvorumError("ifreload ended with status 1")

    def found(self) -> dict[str, str]:
        folder = self.files.etc / "network"
        return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


TAKEN_BACK = {"interfaces": OLD, "interfaces.new": NEW}
KEPT = {"interfaces": NEW}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(network_apply, "_find", lambda command: f"/usr/sbin/{command}")
    monkeypatch.setattr(network_apply, "_run", made.run)
    monkeypatch.setattr(network_apply, "LOOK_EACH_S", 0.01)
    monkeypatch.setattr(network_trial, "SETTLE_S", 0.05)
    return made


async def test_a_node_that_stays_reachable_keeps_the_new_file(world: World) -> None:
    log = Lines()
    world.sight = lambda loaded: Sight(frozenset({"n2"}), quorate=True)
    await world.change.apply(NEW, log, remote=False, confirm_s=0.2)
    assert (world.found(), world.loaded) == (KEPT, [NEW])
    assert log.lines == ["the node is reachable: n2 answer"]


async def test_a_node_that_is_cut_off_has_the_old_configuration_again_by_itself(world: World) -> None:
    log = Lines()
    world.sight = lambda loaded: Sight(frozenset({"n2"} if loaded == OLD else ()))
    with pytest.raises(KvorumError, match=r"no answer from n2; the old configuration is back and the change"):
        await world.change.apply(NEW, log, remote=False, confirm_s=0.2)
    assert (world.found(), world.loaded) == (TAKEN_BACK, [NEW, OLD])


async def test_who_asked_over_the_network_and_is_not_heard_again_gets_the_old_one(world: World) -> None:
    with pytest.raises(KvorumError, match="nothing heard from who asked"):
        await world.change.apply(NEW, Lines(), remote=True, confirm_s=0.2)
    assert (world.found(), world.loaded) == (TAKEN_BACK, [NEW, OLD])
    assert not world.change.hear(), "nobody waits any more"


async def test_who_was_heard_before_the_new_configuration_was_there_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def early(command: str, log: object, names: object = ()) -> None:
        assert not world.change.hear()
        await world.run(command, log)

    monkeypatch.setattr(network_apply, "_run", early)
    with pytest.raises(KvorumError, match="nothing heard"):
        await world.change.apply(NEW, Lines(), remote=True, confirm_s=0.2)


async def test_a_call_of_who_asked_keeps_the_new_file(world: World) -> None:
    task = asyncio.create_task(world.change.apply(NEW, Lines(), remote=True, confirm_s=0.2))
    async with asyncio.timeout(5):
        while not world.change.hear():
            await asyncio.sleep(0)
    with pytest.raises(Conflict, match="is being changed already"):
        await world.change.apply(NEW, Lines(), remote=False, confirm_s=0.2)
    await task
    assert world.found() == KEPT


async def test_a_reload_that_fails_loads_the_old_file_again_and_keeps_the_change(world: World) -> None:
    world.fails_on = {NEW}
    with pytest.raises(KvorumError, match="ifreload ended with status 1; the old configuration is back"):
        await world.change.apply(NEW, Lines(), remote=False, confirm_s=0.2)
    assert (world.found(), world.loaded) == (TAKEN_BACK, [NEW, OLD])


async def test_an_old_configuration_that_can_not_be_loaded_stays_noted_for_the_next_start(
    world: World,
) -> None:
    world.fails_on = {NEW, OLD}
    with pytest.raises(KvorumError, match=r"could not be loaded: .*run 'ifreload -a' on the node"):
        await world.change.apply(NEW, Lines(), remote=False, confirm_s=0.2)
    assert world.found() == {**TAKEN_BACK, "interfaces.before": OLD}
    world.fails_on = set()
    await world.change.recover()
    assert (world.found(), world.loaded[-1]) == (TAKEN_BACK, OLD)


async def test_a_stopped_task_brings_the_old_configuration_back(world: World) -> None:
    task = asyncio.create_task(world.change.apply(NEW, Lines(), remote=True, confirm_s=0.2))
    async with asyncio.timeout(5):
        while not world.loaded:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (world.found(), world.loaded) == (TAKEN_BACK, [NEW, OLD])


async def test_what_is_edited_while_it_is_applied_goes_on_waiting(world: World) -> None:
    async def edit() -> Sight:
        world.files.write("network/interfaces.new", "# newer\n")
        return Sight()

    world.change = NetworkChange(world.files, edit)
    await world.change.apply(NEW, Lines(), remote=False, confirm_s=0.2)
    assert world.found() == {"interfaces": NEW, "interfaces.new": "# newer\n"}


@pytest.mark.parametrize("reachable", [True, False])
async def test_a_daemon_that_dies_at_any_step_leaves_the_old_or_the_new_wholly(
    world: World, reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Died at each effect in turn; the next daemon ends it, and what it finds is no mixture."""
    outcomes = []
    for step in range(40):
        world.files.remove("network/interfaces.before")
        world.files.write("network/interfaces", OLD)
        world.files.write("network/interfaces.new", NEW)
        world.loaded.clear()
        world.sight = lambda loaded: Sight(gateway=loaded == OLD or reachable)
        left = step

        def effect() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Dead

        mortal = HostFiles(world.files.etc)
        write, remove = mortal.write, mortal.remove
        monkeypatch.setattr(mortal, "write", lambda *a, w=write: (effect(), w(*a)))
        monkeypatch.setattr(mortal, "remove", lambda *a, r=remove: (effect(), r(*a)))

        async def run(command: str, log: object, names: object = ()) -> None:
            effect()
            await world.run(command, log)

        monkeypatch.setattr(network_apply, "_run", run)
        try:
            await NetworkChange(mortal, world.look).apply(NEW, Lines(), remote=False, confirm_s=0.2)
        except (Dead, KvorumError):
            pass
        died = left < 0
        monkeypatch.setattr(network_apply, "_run", world.run)
        await NetworkChange(world.files, world.look).recover()
        assert world.found() in (TAKEN_BACK, KEPT), f"died at step {step}"
        inside = world.loaded[-1] if world.loaded else OLD
        assert world.files.read("network/interfaces") == inside, "what is loaded is what the file says"
        outcomes.append(world.found())
        if not died:
            assert outcomes[-1] == (KEPT if reachable else TAKEN_BACK)
            assert len(outcomes) > 4, "it died at each of several steps"
            return
    raise AssertionError("it never came to its end")


async def test_without_ifupdown2_it_counts_from_the_next_boot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_apply, "_find", {"ifup": "/usr/sbin/ifup"}.get)
    log = Lines()
    await world.change.apply(NEW, log, remote=True, confirm_s=0.2)
    assert (world.found(), world.loaded) == (KEPT, [])
    assert "next boot" in log.warnings[0]


async def test_a_network_that_something_else_manages_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_apply, "_find", {}.get)
    with pytest.raises(KvorumError, match="something else manages its network"):
        await world.change.apply(NEW, Lines(), remote=False, confirm_s=0.2)
    assert world.found() == TAKEN_BACK


@pytest.fixture
def ifreload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a command of these shell lines."""
    monkeypatch.setattr(network_apply, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(network_apply, "LOOK_EACH_S", 0.01)

    def make(lines: str) -> str:
        command = tmp_path / "ifreload"
        command.write_text(f"#!/bin/sh\n{lines}\n")
        command.chmod(0o755)
        return str(command)

    return make


async def test_an_interface_that_ifreload_could_not_set_up_is_named(ifreload: Callable[[str], str]) -> None:
    log = Lines()
    command = ifreload("echo error: vmbr0: no such port; exit 1")
    with pytest.raises(KvorumError, match="ifreload could not set up 'vmbr0': no such port"):
        await network_apply._run(command, log, ["vmbr0"])
    assert log.lines == ["error: vmbr0: no such port"]
    assert network_apply.LOCKS.is_dir(), "ifreload needs it for its lock"


async def test_what_it_says_of_the_node_as_a_whole_is_a_warning(ifreload: Callable[[str], str]) -> None:
    log = Lines()
    command = ifreload("echo \"error: [Errno 2] No such file: '/etc/iproute2/rt_tables.d/x'\"; exit 1")
    await network_apply._run(command, log, ["vmbr0"])
    assert log.warnings == ["ifreload ended with status 1, and complained of no interface"]


async def test_another_run_of_ifupdown2_is_waited_for(
    ifreload: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "held"
    command = ifreload(f"rmdir {held} 2>/dev/null && echo error: Another instance && exit 89\nexit 0")
    held.mkdir()
    log = Lines()
    await network_apply._run(command, log)
    assert log.lines == ["error: Another instance"]
    monkeypatch.setattr(network_apply, "LOCKED_TRIES", 1)
    held.mkdir()
    with pytest.raises(KvorumError, match="another run of ifupdown2 does not end"):
        await network_apply._run(command, log)
