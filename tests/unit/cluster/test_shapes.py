"""The three shapes of a small cluster, each with each loss: who may write and who is read-only (mission W1).

Each row is decided twice, as on a node: by votequorum's votes (``goes_on``), and by the store's rule of
views, which knows who was there before. Both must say what the row says.
"""

from __future__ import annotations

import pytest

from kvorum.cluster.quorum import Device, Shape, Voter, goes_on
from kvorum.store.protocol.messages import Ballot, State
from kvorum.store.protocol.messages import View as StoreView
from kvorum.store.protocol.views import judge

THREE = Shape(tuple(Voter(f"n{i}", 1, True) for i in (1, 2, 3)))
TWO_AND_DEVICE = Shape(tuple(Voter(f"n{i}", 1, True) for i in (1, 2)), Device(1, True))
TWO_TO_ONE = Shape((Voter("n1", 2, True), Voter("n2", 1, True)))

ROWS = [
    # shape, partitions that are left, which of them reach the QDevice, which may write
    ("3 nodes, none lost", THREE, ("n1 n2 n3",), (), (True,)),
    ("3 nodes, n1 lost", THREE, ("n2 n3",), (), (True,)),
    ("3 nodes, n2 lost", THREE, ("n1 n3",), (), (True,)),
    ("3 nodes, n3 lost", THREE, ("n1 n2",), (), (True,)),
    ("3 nodes, two lost", THREE, ("n1",), (), (False,)),
    ("3 nodes, the link to n1 cut", THREE, ("n1", "n2 n3"), (), (False, True)),
    ("3 nodes, all links cut", THREE, ("n1", "n2", "n3"), (), (False, False, False)),
    ("2 with QDevice, none lost", TWO_AND_DEVICE, ("n1 n2",), (0,), (True,)),
    ("2 with QDevice, n1 lost", TWO_AND_DEVICE, ("n2",), (0,), (True,)),
    ("2 with QDevice, n2 lost", TWO_AND_DEVICE, ("n1",), (0,), (True,)),
    ("2 with QDevice, the QDevice lost", TWO_AND_DEVICE, ("n1 n2",), (), (True,)),
    ("2 with QDevice, it and n1 lost", TWO_AND_DEVICE, ("n2",), (), (False,)),
    ("2 with QDevice, the link between cut", TWO_AND_DEVICE, ("n1", "n2"), (0, 1), (True, False)),
    ("2 with QDevice, cut, n2 reaches it", TWO_AND_DEVICE, ("n1", "n2"), (1,), (False, True)),
    ("2 with QDevice, cut, none reaches it", TWO_AND_DEVICE, ("n1", "n2"), (), (False, False)),
    ("2 with votes 2 and 1, none lost", TWO_TO_ONE, ("n1 n2",), (), (True,)),
    ("2 with votes 2 and 1, n1 lost", TWO_TO_ONE, ("n2",), (), (False,)),
    ("2 with votes 2 and 1, n2 lost", TWO_TO_ONE, ("n1",), (), (True,)),
    ("2 with votes 2 and 1, the link cut", TWO_TO_ONE, ("n1", "n2"), (), (True, False)),
]


@pytest.mark.parametrize(("name", "shape", "sides", "reach", "writers"), ROWS, ids=[row[0] for row in ROWS])
def test_who_may_write(
    name: str, shape: Shape, sides: tuple[str, ...], reach: tuple[int, ...], writers: tuple[bool, ...]
) -> None:
    partitions = [frozenset(side.split()) for side in sides]
    quorate = goes_on(shape, partitions, reach)
    assert quorate == writers
    for nodes, goes, writes in zip(partitions, quorate, writers, strict=True):
        assert _store_says(shape, nodes, device=goes and not _alone(shape, nodes)) is writes, nodes


def test_a_node_that_comes_up_alone_has_quorum_by_the_device_and_may_still_not_write() -> None:
    """n1 went on alone and died; n2 starts, gets the QDevice's vote, and knows nothing of n1's changes."""
    (quorate,) = goes_on(TWO_AND_DEVICE, [{"n2"}], [0])
    assert quorate and not _store_says(TWO_AND_DEVICE, frozenset({"n2"}), device=True, direct=False)


def _alone(shape: Shape, nodes: frozenset[str]) -> bool:
    """Whether these nodes have a majority by themselves."""
    return 2 * sum(node.votes for node in shape.nodes if node.name in nodes) > shape.total


def _store_says(shape: Shape, nodes: frozenset[str], *, device: bool, direct: bool = True) -> bool:
    """What the store's rule decides for these nodes, all of whom were in the newest view."""
    ids = {node.name: number for number, node in enumerate(shape.nodes, 1)}
    newest = StoreView(7, {number: name for name, number in ids.items()}, 0.0, "h")
    qdevice = shape.device.votes if shape.device and device else 0
    ballots = {
        ids[v.name]: Ballot(v.votes, shape.total, qdevice, True) for v in shape.nodes if v.name in nodes
    }
    states = {
        ids[name]: State((), name, newest, 7, 10, b"", direct, ballots[ids[name]], {}, 0.0) for name in nodes
    }
    return judge(states, ballots).writable
