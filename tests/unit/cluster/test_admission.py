"""What is refused before anything changes, and all of it at once."""

import pytest

from kvorum.cluster.admission import Admission, HostFacts, admit, check_failed, create_refusals, join_refusals
from kvorum.cluster.links import Link, addresses, priorities
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster

CLEAN = HostFacts("n2", ("10.0.0.2", "10.1.0.2"), False, False, False)


def one(*links: str) -> Configuration:
    return new_cluster("home", ConfiguredNode("n1", 1, 1, dict(enumerate(links or ("10.0.0.1",)))))


def test_a_clean_node_may_create_and_join() -> None:
    links = {0: Link("10.0.0.2")}
    assert create_refusals(CLEAN, links) == []
    assert join_refusals(CLEAN, links) == []


def test_a_join_lists_all_refusals_at_once() -> None:
    facts = HostFacts("n2", ("10.0.0.2",), True, True, True, ("VM 100", "CT 101"))
    refusals = join_refusals(facts, {0: Link("10.9.9.9")})
    text = check_failed(refusals)
    assert text.startswith("Check if node may join a cluster failed!\n")
    for part in (
        "* authentication key '/etc/corosync/authkey' already exists",
        "* cluster config '/etc/pve/corosync.conf' already exists",
        "VM 100, CT 101",
        "corosync is already running",
        "address '10.9.9.9' is not configured on this node (10.0.0.2 are)",
    ):
        assert part in text


def test_a_create_minds_a_cluster_that_is_there_but_not_guests() -> None:
    facts = HostFacts("n2", ("10.0.0.2",), False, True, False, ("VM 100",))
    assert create_refusals(facts, {}) == ["cluster config '/etc/pve/corosync.conf' already exists"]


def test_the_same_address_for_two_links_is_refused() -> None:
    (refusal,) = create_refusals(CLEAN, {0: Link("10.0.0.2"), 1: Link("10.0.0.2")})
    assert "link 1 and link 0 have the same address" in refusal


def test_a_node_is_taken_in_with_the_lowest_free_id_and_a_grown_version() -> None:
    old = one()
    new, refusals = admit(old, Admission("n2", {}, address="10.0.0.2", api_version=1))
    assert new is not None and refusals == []
    node = new.node("n2")
    assert node is not None
    assert (node.nodeid, node.votes, dict(node.addresses)) == (2, 1, {0: "10.0.0.2"})
    assert new.config_version == old.config_version + 1


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Admission("n1", {}, address="10.0.0.9"), "can't add existing node 'n1'"),
        (Admission("n2", {}, address="10.0.0.1"), "address '10.0.0.1' is already used by node 'n1'"),
        (Admission("n2", {}, nodeid=1, address="10.0.0.2"), "nodeid 1 is already used by node 'n1'"),
        (Admission("n2", {1: Link("10.0.0.2")}), "give exactly --link0 ADDRESS"),
        (Admission("n2", {}), "gave no address"),
        (Admission("n2", {}, address="10.0.0.2", api_version=9), "upgrade the cluster's nodes first"),
        (Admission("n2", {}, address="10.0.0.2", api_version=0), "upgrade node 'n2' first"),
    ],
)
def test_a_node_is_refused_with_the_reason(request_: Admission, sentence: str) -> None:
    new, refusals = admit(one(), request_)
    assert new is None
    assert any(sentence in refusal for refusal in refusals), refusals


def test_a_cluster_with_two_links_wants_both() -> None:
    cluster = one("10.0.0.1", "10.1.0.1")
    assert "give exactly --link0 ADDRESS --link1 ADDRESS" in admit(cluster, Admission("n2", {}))[1][0]
    new, _ = admit(cluster, Admission("n2", {0: Link("10.0.0.2"), 1: Link("10.1.0.2")}))
    assert new is not None


def test_a_broken_off_join_may_be_repeated_with_force() -> None:
    request = Admission("n2", {}, address="10.0.0.2")
    listed, _ = admit(one(), request)
    assert listed is not None
    again, refusals = admit(listed, Admission("n2", {}, force=True, address="10.0.0.2"))
    assert again is listed and refusals == []
    assert admit(listed, Admission("n2", {}, force=True, votes=3, address="10.0.0.2"))[0] is None


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("10.0.0.1", Link("10.0.0.1")),
        ("10.0.0.1,priority=20", Link("10.0.0.1", 20)),
        ("address=[fd00::1],priority=0", Link("fd00::1", 0)),
    ],
)
def test_links_are_read_as_users_write_them(text: str, link: Link) -> None:
    assert Link.parse(text) == link
    assert Link.parse(str(link)) == link


@pytest.mark.parametrize(
    "text", ["", "n1", "10.0.0.1,priority=256", "10.0.0.1,prio=1", "priority=1", "10.0.0.1,2"]
)
def test_wrong_links_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"'"):
        Link.parse(text)


def test_addresses_and_priorities_are_taken_apart() -> None:
    links = {1: Link("10.1.0.1"), 0: Link("10.0.0.1", 5)}
    assert addresses(links) == {0: "10.0.0.1", 1: "10.1.0.1"}
    assert priorities(links) == {0: 5}
