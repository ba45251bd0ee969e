"""Single stories in the simulated world: who is slow, who stood still, what the others see of it."""

from __future__ import annotations

import pytest
import store_world as world

from kvorum.store import Write
from kvorum.store.protocol import Answer, Clock, Moved, Outcome, Replica, Request


def three() -> object:
    it = world.World(1, size=3, qdevice=False)
    it.begin()
    return it


def slow_member() -> tuple[Outcome | None, Outcome | None]:
    """What became of a write after 4.9 s and after 7 s, when n3's disk hangs for 20 s."""
    it = three()
    slow = it.nodes[3]
    slow.stuck_until = it.now + 20
    number = it.request(it.nodes[1], "own")
    it.calm(4.4)
    early = it.asked[number].outcome
    it.calm(2.6)
    return early, it.asked[number].outcome


def test_a_slow_member_does_not_stop_the_rest_and_comes_back() -> None:
    assert slow_member() == (None, Outcome.DONE)


def test_without_the_clock_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Replica.step
    monkeypatch.setattr(Replica, "step", lambda self, e: [] if isinstance(e, Clock) else step(self, e))
    assert Outcome.DONE not in slow_member()


def test_the_slow_member_says_why_and_is_in_step_again_when_its_disk_is() -> None:
    it = three()
    slow = it.nodes[3]
    slow.stuck_until = it.now + 20
    it.request(it.nodes[1], "own")
    it.calm(7)
    assert not slow.replica.status.writable
    assert "has not taken a write" in slow.replica.status.reason
    number = it.request(it.nodes[2], "own")
    it.calm(0.5)
    assert it.asked[number].outcome is Outcome.DONE, "the others wait for the slow one still"
    it.calm(15)
    assert slow.replica.status.writable
    assert slow.replica.root == it.nodes[1].replica.root


def test_who_stood_still_for_over_two_seconds_leaves_and_is_back_within_one() -> None:
    it = three()
    frozen = it.nodes[2]
    frozen.frozen = True
    it.calm(2.5)
    it.thaw(frozen, frozen.life)
    assert it.counts["withdrawn"] == 1 and not frozen.joined
    it.calm(1.5)
    assert frozen.joined and all(node.replica.status.writable for node in it.nodes.values())
    assert len({node.ring for node in it.nodes.values()}) == 1, "no new ring was needed"


def test_who_stood_still_for_less_stays() -> None:
    it = three()
    it.nodes[2].frozen = True
    it.calm(1.5)
    it.thaw(it.nodes[2], it.nodes[2].life)
    it.calm(1)
    assert it.counts["withdrawn"] == 0 and it.nodes[1].replica.status.writable


@pytest.mark.parametrize("moved", [(2,), (1, 2, 3)])
def test_who_has_another_address_meets_the_others_anew_and_writes_wait_for_it(moved: tuple[int, ...]) -> None:
    it = three()
    numbers = [it.request(it.nodes[1], "own"), it.request(it.nodes[2], "own")]
    for node in moved:
        it.feed(it.nodes[node], Moved("its address is another one"))
    numbers.append(it.request(it.nodes[2], "own"))
    it.calm(2)
    assert it.counts["withdrawn"] == len(moved)
    assert [it.asked[number].outcome for number in numbers] == [Outcome.DONE] * 3
    assert all(node.replica.status.writable and node.joined for node in it.nodes.values())
    assert len({node.replica.root for node in it.nodes.values()}) == 1


def test_the_checker_hears_nothing_of_a_swap_that_expected_what_was_dropped() -> None:
    """The request was carried out anew, so the same content is there as another version (seed 76928)."""
    it = three()
    node = it.nodes[1]

    def asked(number: int, kind: str, expected: str | None, version: int) -> None:
        it.asked[number] = world.Asked(1, kind, "shared/0", b"x", expected, version, it.now)

    asked(1, "write", None, 0)
    it.feed(node, Request(1, (Write("shared/0", b"x"),), (), "test", it.now))
    it.calm(1)
    version = node.replica.tree.read("shared/0").version
    for number, expected, its_version in ((2, "x", version - 1), (3, "x", version), (4, "y", version - 1)):
        asked(number, "swap", expected, its_version)
        it.answered(node, Answer(number, Outcome.CONFLICT))
    assert world._operation(it.asked[2]) is None
    assert [world._operation(it.asked[number]).kind for number in (3, 4)] == ["failed swap"] * 2
