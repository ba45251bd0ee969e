"""Members that speak another version of the wire: nobody writes with them, and nothing is lost."""

from __future__ import annotations

import pytest
import store_world as world

from kvorum.store.protocol import Deliver, Event, Outcome, Whispered
from kvorum.store.protocol.member import Phase

OTHER = 9


class MixedWorld(world.World):
    """What passes between an ``old`` node and a new one has another version's header."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, size=3, qdevice=False)
        self.old: set[int] = set()

    def feed(self, node: object, event: Event) -> None:
        if isinstance(event, Deliver | Whispered) and (event.sender in self.old) != (node.id in self.old):
            if isinstance(event, Whispered):
                return  # they never met, so neither knows the other's key
            event = Deliver(event.sender, bytes((OTHER,)) + event.frame[1:])
        super().feed(node, event)

    def upgrade(self, node: object) -> None:
        """The node stops, and is another version's when it starts again."""
        self.crash(node, power=False)
        self.old ^= {node.id}
        self.start(node)


def three(seed: int) -> MixedWorld:
    it = MixedWorld(seed)
    it.begin()
    return it


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("upgraded", [(1,), (3,), (1, 2)])
def test_while_members_differ_none_writes_and_each_says_who_it_is(
    seed: int, upgraded: tuple[int, ...]
) -> None:
    it = three(seed)
    before = [it.request(node, "own") for node in it.nodes.values()]
    it.calm(1)
    assert [it.asked[number].outcome for number in before] == [Outcome.DONE] * 3
    for number in upgraded:
        it.upgrade(it.nodes[number])
    it.calm(5)
    for node in it.nodes.values():
        assert not node.replica.status.writable and node.replica.phase is Phase.GATHERING
        others = [n for n in it.nodes if (n in it.old) != (node.id in it.old)]
        reason = node.replica.status.reason
        assert any(f"node id {n} speaks protocol version {OTHER}" in reason for n in others), reason
    refused = [it.request(node, "own") for node in it.nodes.values()]
    it.calm(1)
    assert [it.asked[number].outcome for number in refused] == [Outcome.NO_QUORUM] * 3
    for number in set(it.nodes) - set(upgraded):
        it.upgrade(it.nodes[number])
    it.calm(3)
    it.check_writes_succeed(list(it.nodes.values()))
    assert len({node.replica.root for node in it.nodes.values()}) == 1
    it.check_history(it.nodes[1].replica.tree)


def test_a_majority_of_one_version_writes_once_the_other_ones_node_is_off() -> None:
    it = three(1)
    it.upgrade(it.nodes[2])
    it.calm(3)
    assert not it.nodes[1].replica.status.writable
    it.crash(it.nodes[2], power=True)
    it.calm(3)
    it.check_writes_succeed([it.nodes[1], it.nodes[3]])
    it.start(it.nodes[2])
    it.reform([frozenset(it.nodes)])
    it.calm(3)
    assert not it.nodes[1].replica.status.writable, "it is back, and still another version's"
    it.upgrade(it.nodes[2])
    it.calm(3)
    it.check_writes_succeed(list(it.nodes.values()))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_while_members_are_upgraded_at_any_moment(seed: int) -> None:
    it = three(seed)
    for number in it.nodes:
        for _ in range(60):
            it.step()
        if it.nodes[number].replica is not None:
            it.upgrade(it.nodes[number])
        else:
            it.old ^= {number}
    it.heal_and_check()
