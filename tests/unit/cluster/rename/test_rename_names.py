"""What files say of a node is said by its new name, and nothing else is touched."""

from __future__ import annotations

import json

import pytest

from kvorum.cluster.rename.names import Former, hosts, present_name, read_former, renamed, with_former
from kvorum.cluster.rename.refusals import Facts, rename_refusals
from kvorum.corosync import ConfiguredNode, new_cluster
from kvorum.store.naming import listed_name, naming_text

CASES = {
    "storage.cfg": (
        "dir: n3\n\tpath /n3\n\tnodes n1,n3\n\ndir: b\n\tnodes n33, n3\n\tcontent images\n",
        "dir: n3\n\tpath /n3\n\tnodes n1,hp\n\ndir: b\n\tnodes n33, hp\n\tcontent images\n",
    ),
    "ha/groups.cfg": ("group: n3\n\tnodes n3:2,n1:1\n", "group: n3\n\tnodes hp:2,n1:1\n"),
    "ha/rules.cfg": ("node-affinity: a\n\tnodes n3\n", "node-affinity: a\n\tnodes hp\n"),
    "replication.cfg": (
        "local: 100-0\n\ttarget n3\n\tsource n1\n\tcomment n3\n",
        "local: 100-0\n\ttarget hp\n\tsource n1\n\tcomment n3\n",
    ),
    "jobs.cfg": ("vzdump: a\n\tnode n3\n\tmailto n3\n", "vzdump: a\n\tnode hp\n\tmailto n3\n"),
    "user.cfg": (
        "user:n3@pve:1:0:::n3::\nacl:1:/nodes/n3:n3@pve:Admin:\nacl:1:/nodes/n3/x:a@pve:A:\n"
        "acl:0:/nodes/n33:a@pve:A:\nacl:1:/vms/100:a@pve:A:\n",
        "user:n3@pve:1:0:::n3::\nacl:1:/nodes/hp:n3@pve:Admin:\nacl:1:/nodes/hp/x:a@pve:A:\n"
        "acl:0:/nodes/n33:a@pve:A:\nacl:1:/vms/100:a@pve:A:\n",
    ),
    "priv/known_hosts": (
        "n3,10.0.0.3 ssh-rsa n3\n[n3]:22 ssh-rsa x\nn33 ssh-rsa y\n",
        "hp,10.0.0.3 ssh-rsa n3\n[hp]:22 ssh-rsa x\nn33 ssh-rsa y\n",
    ),
    "priv/authorized_keys": (
        "ssh-rsa AAA root@n3\nssh-rsa BBB root@n33\n",
        "ssh-rsa AAA root@hp\nssh-rsa BBB root@n33\n",
    ),
}


@pytest.mark.parametrize("path", CASES)
def test_a_file_names_the_node_anew(path: str) -> None:
    before, after = CASES[path]
    assert renamed(path, before, "n3", "hp") == after
    assert renamed(path, after, "hp", "n3") == before
    assert renamed(path, before, "n4", "hp") == before


def test_has_state_and_join_tokens_name_it_anew() -> None:
    status = {"node_status": {"n3": "online"}, "service_status": {"vm:1": {"node": "n3", "uid": "n3x"}}}
    changed = json.loads(renamed("ha/manager_status", json.dumps(status), "n3", "hp"))
    assert changed == {
        "node_status": {"hp": "online"},
        "service_status": {"vm:1": {"node": "hp", "uid": "n3x"}},
    }
    assert renamed("ha/manager_status", "{ broken", "n3", "hp") == "{ broken"
    assert renamed("priv/join-tokens.json", '[{"node": "n1"}]', "n3", "hp") == '[{"node": "n1"}]'


def test_etc_hosts_keeps_addresses_domains_comments_and_other_names() -> None:
    text = "127.0.0.1 localhost\n10.0.0.3\tn3.example.org n3 # n3 is the old one\n10.0.0.4 n33 web.n3\n# n3\n"
    assert hosts(text, "n3", "hp") == (
        "127.0.0.1 localhost\n10.0.0.3\thp.example.org hp # n3 is the old one\n10.0.0.4 n33 web.n3\n# n3\n"
    )


def test_a_former_name_leads_to_the_present_one_until_it_is_taken_anew() -> None:
    text = with_former("[]", Former("n3", "hp", 1, "root@pam"))
    text = with_former(text, Former("hp", "server", 2, "root@pam"))
    assert present_name(text, "n3") == present_name(text, "hp") == "server"
    assert present_name(text, "n1") == "n1"
    back = with_former(text, Former("server", "n3", 3, "root@pam"))
    assert [row.old for row in read_former(back)] == ["hp", "server"]
    assert present_name(back, "server") == present_name(back, "hp") == present_name(back, "n3") == "n3"
    assert read_former("nonsense") == () and present_name("nonsense", "n3") == "n3"


def test_between_two_names_the_listed_one_counts(tmp_path) -> None:  # type: ignore[no-untyped-def]
    marker = tmp_path / "renaming"
    assert listed_name("hp", ["n1", "n3"], marker) == "hp"
    marker.write_text(naming_text("n3", "hp"))
    assert listed_name("hp", ["n1", "n3"], marker) == "n3"
    assert listed_name("n3", ["n1", "hp"], marker) == "hp"
    assert listed_name("n1", ["n3", "hp"], marker) == "n1"
    assert listed_name("n2", ["n1", "hp"], marker) == "n2"


TWO = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})).with_node(
    ConfiguredNode("n3", 3, 1, {0: "10.0.0.3"})
)


def facts(**changed: object) -> Facts:
    given: dict[str, object] = {
        "node": "n3",
        "hostname": "n3",
        "folders": ["n1", "n3"],
        "online": ["n1", "n3"],
    }
    return Facts(**{**given, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "new", "sentence"),
    [
        (facts(), "n3", "has this name already"),
        (facts(), "n1", "the cluster has a node 'n1' already"),
        (facts(folders=["n1", "n3", "hp"]), "hp", "'/etc/pve/nodes/hp' is there"),
        (facts(hostname="other"), "hp", "host name is 'other' and not 'n3'"),
        (facts(online=["n3"]), "hp", "node n1 is off"),
        (facts(migrating=["100"]), "hp", "VM 100 is being migrated"),
        (facts(running=["qmstart 100"]), "hp", "tasks run on node 'n3'"),
    ],
)
def test_what_stands_in_the_way_is_said(seen: Facts, new: str, sentence: str) -> None:
    assert sentence in "\n".join(rename_refusals(TWO, seen, new))


def test_all_is_said_at_once_and_a_free_name_is_taken() -> None:
    assert rename_refusals(TWO, facts(), "hp") == [] == rename_refusals(None, facts(online=["n3"]), "hp")
    assert rename_refusals(TWO, facts(online=["n3"]), "hp", force=True) == []
    assert len(rename_refusals(TWO, facts(online=["n3"], migrating=["1"], running=["x"]), "n1")) == 4
