"""What a node brings along is whole, clashes are listed, and its storages stay its own."""

import pytest

from kvorum.cluster.bring import Brought, clashes, left_behind, read_brought, with_storages

LOCAL = "dir: local\n\tpath /var/lib/vz\n\tcontent images\n"
OWN = LOCAL + "\ndir: fast\n\tpath /mnt/fast\n\tcontent images\n"
GUEST = "memory: 64\nscsi0: fast:100/vm-100-disk-0.qcow2,size=1G\n"


def test_what_is_sent_is_what_arrives() -> None:
    brought = Brought({"100": GUEST}, OWN)
    assert read_brought(brought.text()) == brought
    assert read_brought(None) == Brought()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"guests": {"x": "y"}, "storages": ""}',
                                  '{"guests": {"../1": "y"}, "storages": ""}',
                                  '{"guests": {"100": 1}, "storages": ""}'])  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|is not"):
        read_brought(text)


def test_every_clash_is_named_with_its_node() -> None:
    taken = {"100": "nodes/n1/qemu-server/100.conf", "101": "nodes/n3/lxc/101.conf"}
    (said,) = clashes(Brought({"101": "", "100": "", "102": ""}), taken, "n2")
    assert "VM 100 (node n1 has one), VM 101 (node n3 has one)" in said and "102" not in said
    assert clashes(Brought({"100": ""}), {"100": "nodes/n2/qemu-server/100.conf"}, "n2") == []


def test_a_storage_of_the_node_alone_comes_along_for_it_alone() -> None:
    text, refusals = with_storages(LOCAL, Brought({"100": GUEST}, OWN), "n2")
    assert refusals == []
    assert text.startswith(LOCAL) and "dir: fast\n\tpath /mnt/fast\n\tcontent images\n\tnodes n2\n" in text
    assert with_storages(text, Brought({"100": GUEST}, OWN), "n2") == (text, [])


def test_a_disk_on_a_storage_that_is_another_one_in_the_cluster_is_refused() -> None:
    other = LOCAL + "\ndir: fast\n\tpath /mnt/other\n"
    text, (refusal,) = with_storages(other, Brought({"100": GUEST}, OWN), "n2")
    assert text == other and "dir /mnt/fast on node 'n2' and dir /mnt/other in the cluster" in refusal
    assert with_storages(other, Brought({"100": "memory: 64\n"}, OWN), "n2") == (other, [])


def test_a_disk_on_a_storage_not_for_this_node_or_unknown_is_refused() -> None:
    elsewhere = OWN + "\tnodes n1\n"
    assert "is not for node 'n2'" in with_storages(elsewhere, Brought({"100": GUEST}, OWN), "n2")[1][0]
    assert "no storage 'fast' is known" in with_storages(LOCAL, Brought({"100": GUEST}, LOCAL), "n2")[1][0]


def test_what_stays_behind_is_offered_with_its_command() -> None:
    (said,) = left_behind(LOCAL, OWN, "n2")
    assert said.endswith("pvesm add dir fast --path '/mnt/fast' --content 'images' --nodes n2")
    assert left_behind(OWN, OWN, "n2") == []
