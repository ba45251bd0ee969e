"""Sequences are carried through or undone, whichever step fails or is broken off, and however often."""

import asyncio
from pathlib import Path

import pytest

from kvorum.cluster.sequence import (
    Do,
    Done,
    Journal,
    Plan,
    SequenceFailed,
    State,
    Step,
    Undo,
    Unfinished,
    carry_out,
    committed,
    decide,
    interrupted,
)

PLAN = Plan("test", ("a", "b", "c", "d"), commit="d")


class DaemonEnds(BaseException):
    """The process dies here."""


class World:
    """Things that steps make and unmake; ``fail`` names what goes wrong."""

    def __init__(self, fail: str = "", die: str = "") -> None:
        self.made: list[str] = []
        self.fail, self.die = fail, die

    def steps(self) -> dict[str, Step]:
        return {name: Step(self._do(name), self._undo(name)) for name in PLAN.steps}

    def _do(self, name: str):  # type: ignore[no-untyped-def]
        async def do() -> None:
            if name not in self.made:
                self.made.append(name)
            if self.die == f"do {name}":
                raise DaemonEnds
            if self.fail == name:
                raise RuntimeError("it broke")

        return do

    def _undo(self, name: str):  # type: ignore[no-untyped-def]
        async def undo() -> None:
            if name in self.made:
                self.made.remove(name)
            if self.die == f"undo {name}":
                raise DaemonEnds

        return undo


async def test_a_plan_is_carried_through_in_order(tmp_path: Path) -> None:
    world, journal, log = World(), Journal(tmp_path / "j"), []
    await carry_out(PLAN, world.steps(), journal, {}, log.append)
    assert world.made == list(PLAN.steps) == log
    assert journal.load() is None


@pytest.mark.parametrize("fail", ["a", "b", "c"])
async def test_a_failure_undoes_all_that_was_begun(tmp_path: Path, fail: str) -> None:
    world, journal = World(fail=fail), Journal(tmp_path / "j")
    with pytest.raises(SequenceFailed, match=f"^{fail}: it broke; everything was set back"):
        await carry_out(PLAN, world.steps(), journal, {}, lambda _line: None)
    assert world.made == []
    assert journal.load() is None


async def test_after_the_commit_point_nothing_is_undone(tmp_path: Path) -> None:
    world, journal = World(fail="d"), Journal(tmp_path / "j")
    with pytest.raises(Unfinished, match="d: it broke; this can't be set back any more, and is tried again"):
        await carry_out(PLAN, world.steps(), journal, {}, lambda _line: None)
    assert world.made == list(PLAN.steps)
    await _reenter(world, journal)
    assert journal.load() is None and world.made == list(PLAN.steps)


@pytest.mark.parametrize("die", [f"do {n}" for n in "abcd"])
async def test_a_daemons_end_at_any_step_leaves_all_or_nothing(tmp_path: Path, die: str) -> None:
    world, journal = World(die=die), Journal(tmp_path / "j")
    with pytest.raises(DaemonEnds):
        await carry_out(PLAN, world.steps(), journal, {"note": "kept"}, lambda _line: None)
    found = journal.load()
    assert found is not None and found[2] == {"note": "kept"}
    await _reenter(world, journal)
    assert world.made == (list(PLAN.steps) if die == "do d" else [])
    assert journal.load() is None


@pytest.mark.parametrize("fail", ["b", "c"])
@pytest.mark.parametrize("die", ["undo a", "undo b"])
async def test_a_daemons_end_while_undoing_is_undone_to_the_end(tmp_path: Path, fail: str, die: str) -> None:
    world, journal = World(fail=fail, die=die), Journal(tmp_path / "j")
    with pytest.raises(DaemonEnds):
        await carry_out(PLAN, world.steps(), journal, {}, lambda _line: None)
    await _reenter(world, journal)
    assert world.made == []


async def test_cancelled_it_undoes_and_stays_cancelled(tmp_path: Path) -> None:
    world, journal, reached = World(), Journal(tmp_path / "j"), asyncio.Event()
    steps = world.steps()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    steps["b"] = Step(hang)
    task = asyncio.create_task(carry_out(PLAN, steps, journal, {}, lambda _line: None))
    await asyncio.wait_for(reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.made == [] and journal.load() is None


async def test_what_cant_be_undone_is_said_and_keeps_no_other_from_it(tmp_path: Path) -> None:
    world, journal, log = World(fail="c"), Journal(tmp_path / "j"), []
    steps = world.steps()

    async def cant() -> None:
        raise RuntimeError("the peer is gone")

    steps["b"] = Step(steps["b"].do, cant)
    with pytest.raises(SequenceFailed, match="c: it broke; not all was set back: the peer is gone"):
        await carry_out(PLAN, steps, journal, {}, log.append)
    assert world.made == ["b"]
    assert "undo: b: the peer is gone" in log


def test_decisions_are_pure() -> None:
    assert decide(PLAN, State()) == Do("a")
    assert decide(PLAN, State(begun=("a", "b"), finished=("a",), failure="x")) == Undo("b")
    assert decide(PLAN, State(begun=("a",), undone=("a",), failure="x")) == Done("x")
    assert decide(PLAN, State(finished=PLAN.steps)) == Done()
    assert not committed(PLAN, State(finished=("a", "b")))
    assert committed(PLAN, State(finished=("a", "b", "c")))


async def _reenter(world: World, journal: Journal) -> None:
    """A new daemon finds the journal."""
    found = journal.load()
    assert found is not None
    kind, state, notes = found
    assert kind == "test"
    world.die = world.fail = ""
    state = interrupted(PLAN, state, "broken off")
    try:
        await carry_out(PLAN, world.steps(), journal, notes, lambda _line: None, state)
    except SequenceFailed:
        assert state.failure
