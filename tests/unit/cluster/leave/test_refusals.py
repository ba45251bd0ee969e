"""Who may go, and what is said to who may not."""

from kvorum.cluster.leave.refusals import Leaver, leave_refusals, removal_refusals
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster


def cluster(count: int, votes: int = 1) -> Configuration:
    made = new_cluster("home", ConfiguredNode("n1", 1, votes, {0: "10.0.0.1"}))
    for n in range(2, count + 1):
        made = made.with_node(ConfiguredNode(f"n{n}", n, 1, {0: f"10.0.0.{n}"}))
    return made


DEAD = Leaver("n3", online=False, guests=())


def test_a_dead_node_without_guests_may_be_removed() -> None:
    assert removal_refusals(cluster(3), DEAD, "n1") == []


def test_a_running_node_with_guests_is_refused_for_both() -> None:
    running = Leaver("n3", online=True, guests=("100", "101"))
    online, guests = removal_refusals(cluster(3), running, "n1")
    assert "is running: run 'pvecm leave' on it" in online
    assert "VM 100, VM 101" in guests and "--force" in guests
    assert removal_refusals(cluster(3), running, "n1", force=True) == [online]


def test_copies_of_guests_of_a_node_that_never_came_do_not_hold_it() -> None:
    assert removal_refusals(cluster(3), Leaver("n3", False, ("100",), joined=False), "n1") == []


def test_oneself_and_strangers_are_refused() -> None:
    assert "Cannot delete myself" in removal_refusals(cluster(3), Leaver("n1", True, ()), "n1")[0]
    assert "its nodes are n1, n2, n3" in removal_refusals(cluster(3), Leaver("n9", False, ()), "n1")[0]


def test_a_node_leaves_when_the_others_can_go_on() -> None:
    assert leave_refusals(cluster(3), Leaver("n3", True, ()), ["n1", "n2", "n3"]) == []
    assert leave_refusals(cluster(2), Leaver("n2", True, ()), ["n1", "n2"]) == []


def test_a_node_stays_whose_going_would_cost_quorum() -> None:
    (refusal,) = leave_refusals(cluster(3, votes=2), Leaver("n1", True, ()), ["n1", "n2"])
    assert "1 of the 2 votes needed" in refusal and "start n3 first" in refusal


def test_guests_hold_a_node_but_not_one_that_was_removed() -> None:
    here = Leaver("n3", True, ("100",))
    assert "VM 100" in leave_refusals(cluster(3), here, ["n1", "n2", "n3"])[0]
    assert leave_refusals(cluster(3), here, ["n3"], removed=True) == []


def test_there_is_nothing_to_leave_without_a_cluster() -> None:
    assert "not in a cluster" in leave_refusals(None, Leaver("n1", True, ()), ["n1"])[0]
