"""Who is in the cluster, as corosync.conf and the store's group say together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.store.membership import MembershipSource, read_nodes, waits_for_members
from kvorum.store.protocol import Ballot, Status, View
from kvorum.store.protocol.messages import State, Tag
from kvorum.store.protocol.views import judge

CONFIG = """
totem {
  cluster_name: home
  config_version: 3   # grown twice
}
nodelist {
  node {
    name: n1
    nodeid: 1
    ring0_addr: 10.0.0.1
    quorum_votes: 2
  }
  node {
    ring0_addr: 10.0.0.2
    nodeid: 2
  }
}
"""


def status(
    writable: bool, reason: str = "", members: tuple[int, ...] = (1,), changing: bool = False
) -> Status:
    return Status(writable, changing, reason, frozenset(members))


def test_corosync_conf_names_the_nodes() -> None:
    name, version, members = read_nodes(CONFIG)
    assert (name, version) == ("home", 3)
    assert [(m.name, m.nodeid, m.votes) for m in members] == [("n1", 1, 2), ("10.0.0.2", 2, 1)]


def test_its_version_grows_with_each_difference_only(tmp_path: Path) -> None:
    config = tmp_path / "corosync.conf"
    config.write_text(CONFIG)
    source = MembershipSource(config, "n1")
    assert not source.current.quorate and source.current.reason
    assert source.update(status(True, members=(1, 2)))
    first = source.current
    assert first.quorate and [m.online for m in first.members] == [True, True] and first.config_version == 3
    assert not source.update(status(True, members=(1, 2)))
    assert source.update(status(False, "no quorum", members=(1,)))
    assert source.current.version == first.version + 1 and not source.current.members[1].online


def test_while_states_are_compared_quorum_stays_as_it_was() -> None:
    source = MembershipSource(None, "n1")
    source.update(status(False, "comparing", changing=True))
    assert source.current.quorate
    source.update(status(False, "its disk is full"))
    assert not source.current.quorate and source.current.reason == "its disk is full"


def state(node: int, view: View) -> State:
    return State(
        tag=Tag((1, 1), ((node, 1),), 0), name=f"n{node}", view=view, last_view=view.number,
        version=1, root=b"", direct=False, ballot=Ballot(), applied={}, time=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("view", "ballot", "adoptable"),
    [
        (View(3, {1: "n1", 2: "n2"}, 1.0, "h"), Ballot(1, 3, 1, True), True),
        (View(), Ballot(1, 3, 1, True), True),
        (View(3, {1: "n1", 2: "n2"}, 1.0, "h"), Ballot(1, 3, 1, False), False),
        (View(3, {1: "n1", 2: "n2"}, 1.0, "h"), Ballot(1, 3, 0, True), False),
    ],
    ids=["others may know more", "never met", "the QDevice's vote is new", "no majority"],
)
def test_adopting_is_offered_for_the_rule_of_views_alone(view: View, ballot: Ballot, adoptable: bool) -> None:
    verdict = judge({2: state(2, view)}, {2: ballot})
    assert not verdict.writable
    assert waits_for_members(verdict.reason) is adoptable, verdict.reason
    source = MembershipSource(None, "n2")
    source.update(status(False, verdict.reason))
    assert source.current.adoptable is adoptable
    source.update(status(True))
    assert not source.current.adoptable
