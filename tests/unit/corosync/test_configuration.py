"""The typed view of corosync.conf, the edits, and the judgement over a change."""

import pytest

from kvorum.corosync import Configuration, ConfiguredNode, DocumentError, judge, new_cluster


def node(number: int, votes: int = 1) -> ConfiguredNode:
    return ConfiguredNode(f"n{number}", number, votes, {0: f"10.0.0.{number}"})


def cluster(*nodes: ConfiguredNode) -> Configuration:
    made = new_cluster("home", nodes[0])
    for other in nodes[1:]:
        made = made.with_node(other).bumped()
    return made


def test_a_new_cluster_says_what_its_users_know() -> None:
    first = ConfiguredNode("n1", 1, 1, {0: "10.0.0.1", 1: "10.1.0.1"})
    assert new_cluster("home", first, {0: 20}).text == (
        "logging {\n  debug: off\n  to_syslog: yes\n}\n"
        "nodelist {\n  node {\n    name: n1\n    nodeid: 1\n    quorum_votes: 1\n"
        "    ring0_addr: 10.0.0.1\n    ring1_addr: 10.1.0.1\n  }\n}\n"
        "quorum {\n  provider: corosync_votequorum\n}\n"
        "totem {\n  cluster_name: home\n  config_version: 1\n  ip_version: ipv4-6\n  link_mode: passive\n"
        "  secauth: on\n  seqno_unchanged_const: 1\n  token: 1000\n  token_coefficient: 125\n  version: 2\n"
        "  interface {\n    linknumber: 0\n    knet_link_priority: 20\n  }\n"
        "  interface {\n    linknumber: 1\n  }\n}\n"
    )


def test_nodes_come_and_go_and_the_rest_stays() -> None:
    one = cluster(node(1))
    two = one.with_node(node(2)).bumped()
    assert [n.name for n in two.nodes] == ["n1", "n2"]
    assert two.config_version == 2
    assert two.without_node("n2").text == one.bumped().text
    assert cluster(node(1), node(3)).free_nodeid() == 2
    with pytest.raises(DocumentError, match="no node 'n9'"):
        one.without_node("n9")


@pytest.mark.parametrize(
    "other",
    [
        ConfiguredNode("n1", 2, 1, {0: "10.0.0.2"}),
        ConfiguredNode("n2", 1, 1, {0: "10.0.0.2"}),
        ConfiguredNode("n2", 2, 1, {0: "10.0.0.1"}),
    ],
)
def test_a_name_an_id_and_an_address_belong_to_one_node(other: ConfiguredNode) -> None:
    with pytest.raises(DocumentError, match="is used by node 'n1'"):
        cluster(node(1)).with_node(other)


@pytest.mark.parametrize(("count", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
def test_quorum_is_more_than_half(count: int, quorum: int) -> None:
    assert cluster(*(node(n) for n in range(1, count + 1))).quorum == quorum


def test_the_device_is_read_and_counts() -> None:
    text = cluster(node(1), node(2)).text.replace(
        "provider: corosync_votequorum\n",
        "provider: corosync_votequorum\n  device {\n    model: net\n    votes: 1\n"
        "    net {\n      host: 10.0.0.9\n    }\n  }\n",
    )
    read = Configuration.read(text)
    assert read.device is not None
    assert (read.device.model, read.device.votes, read.device.host) == ("net", 1, "10.0.0.9")
    assert (read.total_votes, read.quorum) == (3, 2)


def test_a_good_change_is_let_through() -> None:
    old = cluster(node(1), node(2))
    new = old.text.replace("quorum_votes: 1", "quorum_votes: 2", 1).replace("version: 2\n", "version: 3\n", 1)
    assert judge(old, new, {1, 2}).errors == ()
    assert judge(old, old.text, {1, 2}).errors == ()
    assert judge(None, new).errors == ()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            ("config_version: 2", "config_version: 2\n  x: 1"),
            "config_version is 2, the running cluster has 2",
        ),
        (("config_version: 2", "config_version: 3\n  x 1"), "line"),
        (
            ("cluster_name: home\n  config_version: 2", "cluster_name: x\n  config_version: 3"),
            "name can't change",
        ),
        (("name: n2", "name: n4"), "'n2' is running and missing"),
    ],
)
def test_a_bad_change_is_refused_with_its_reason(edit: tuple[str, str], sentence: str) -> None:
    old = cluster(node(1), node(2))
    errors = judge(old, old.text.replace(*edit), {1, 2}).errors
    assert any(sentence in error for error in errors), errors


def test_a_change_that_costs_the_present_their_quorum_is_refused() -> None:
    old = cluster(node(1), node(2), node(3))
    new = old.with_node(node(4, votes=5)).bumped()
    errors = judge(old, new.text, {1, 2, 3}).errors
    assert any("would have 3 of the 5 votes needed" in error for error in errors)


def test_a_link_comes_and_goes_and_the_rest_stays() -> None:
    old = cluster(node(1), node(2))
    more = old.with_link(1, {"n1": "10.1.0.1", "n2": "10.1.0.2"}, {"knet_link_priority": "9"})
    assert more.links == (0, 1) and more.link_options(1) == {"knet_link_priority": "9"}
    assert more.without_link(1).text == old.text
    with pytest.raises(DocumentError, match="is used by node"):
        old.with_link(1, {"n1": "10.1.0.1", "n2": "10.1.0.1"})
    with pytest.raises(DocumentError, match="no node 'n9'"):
        old.with_link(1, {"n9": "10.1.0.9"})


def test_a_node_without_its_address_on_link_0_is_refused() -> None:
    """Seen with 3.1.7: it takes another's address for its own, and votequorum loses its list of nodes."""
    old = cluster(node(1), node(2)).with_link(1, {"n1": "10.1.0.1", "n2": "10.1.0.2"})
    assert "node n1, n2 lacks ring0_addr" in "".join(judge(old, old.without_link(0).bumped().text).errors)
    assert judge(old, old.without_link(1).bumped().text).errors == ()


def test_a_node_gets_another_name_and_keeps_all_else() -> None:
    old = cluster(node(1), node(2))
    new = old.renamed("n2", "server2")
    assert new.text == old.text.replace("name: n2", "name: server2")
    with pytest.raises(DocumentError, match="name n1 is used by node"):
        old.renamed("n2", "n1")
