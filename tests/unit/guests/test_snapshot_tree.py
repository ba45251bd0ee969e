"""What a guest's configuration says of its snapshots, and what each step writes into it."""

from __future__ import annotations

import pytest

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError, GuestError
from kvorum.guests.snapshots import tree
from kvorum.guests.snapshots.tree import Step

TEXT = """#notes of the guest
boot: order=scsi0
memory: 512
name: web
parent: two
scsi0: local:100/vm-100-disk-0.qcow2,size=4G
scsi1: local:100/vm-100-disk-2.qcow2,size=1G
unused0: local:100/vm-100-disk-3.qcow2
vmgenid: 11111111-1111-1111-1111-111111111111

[PENDING]
scsi5: local:100/vm-100-disk-5.qcow2,size=1G

[one]
#the first %25
boot: order=scsi0
memory: 256
scsi0: local:100/vm-100-disk-0.qcow2,size=2G
scsi1: local:100/vm-100-disk-1.qcow2,size=1G
snaptime: 1000

[two]
memory: 512
parent: one
runningmachine: pc-i440fx-10.0
scsi0: local:100/vm-100-disk-0.qcow2,size=4G
scsi2: local:iso/x.iso,media=cdrom
snaptime: 2000
vmgenid: 11111111-1111-1111-1111-111111111111
vmstate: local:100/vm-100-state-two.raw
"""


def config(text: str = TEXT) -> GuestConfig:
    return GuestConfig.parse(100, text)


def section(of: GuestConfig, name: str) -> dict[str, str]:
    return dict(tree.snapshot(of, name).settings)


def test_snapshots_are_the_sections_that_are_nothing_else() -> None:
    found = tree.snapshots(config(TEXT + "\n[special:cloudinit]\nciuser: x\n"))
    assert set(found) == {"one", "two"}
    assert found["one"].description == "the first %\n"
    assert found["two"].memory is not None
    assert set(found["two"].disks) == {"scsi0"}, "a CD is no part of it"


def test_the_list_has_the_tree_and_where_the_guest_is() -> None:
    assert tree.rows(config(), "d1", True) == [
        {"name": "one", "description": "the first %\n", "vmstate": False, "snaptime": 1000},
        {"name": "two", "description": "", "vmstate": True, "snaptime": 2000, "parent": "one"},
        {"name": "current", "description": "You are here!", "digest": "d1", "running": 1, "parent": "two"},
    ]


@pytest.mark.parametrize("name", ["current", "Current", "pending", "one", "1st", "a b", "x", "a" * 41])
def test_a_name_that_cant_be_is_refused(name: str) -> None:
    with pytest.raises(GuestError, match=name[:5]):
        tree.check_name(config(), name)


def test_a_snapshot_is_noted_before_it_is_whole_and_has_the_settings_of_its_time() -> None:
    noted = tree.begun(config(), "three", 3000, "notes\nof it")
    assert noted.lock == "snapshot" and noted.text("parent") == "two"
    assert section(noted, "three") == {
        "boot": "order=scsi0",
        "memory": "512",
        "name": "web",
        "parent": "two",
        "scsi0": "local:100/vm-100-disk-0.qcow2,size=4G",
        "scsi1": "local:100/vm-100-disk-2.qcow2,size=1G",
        "snapstate": "prepare",
        "snaptime": "3000",
        "vmgenid": "11111111-1111-1111-1111-111111111111",
    }
    whole = tree.taken(noted, "three", {"vmstate": "local:100/vm-100-state-three.raw"})
    assert whole.lock is None and whole.text("parent") == "three"
    assert "snapstate" not in section(whole, "three")
    assert tree.snapshot(whole, "three").description == "notes\nof it\n"
    assert whole.pending == config().pending


def test_one_that_is_given_up_leaves_the_very_text_of_before() -> None:
    noted = tree.begun(config(), "three", 3000, "notes")
    assert tree.given_up(noted, "three").document.render() == config().document.render()


def test_sections_stand_in_the_known_order() -> None:
    noted = tree.begun(config(), "alpha", 3000, "")
    assert noted.document.sections == ("PENDING", "alpha", "one", "two")
    assert tree.begun(noted, "oz", 1, "").document.sections == ("PENDING", "alpha", "one", "oz", "two")


def test_going_back_has_the_settings_of_then_and_loses_no_volume() -> None:
    marked = tree.marked(config(), "one", Step.ROLL_BACK)
    assert marked.lock == "rollback" and tree.snapshot(marked, "one").step is Step.ROLL_BACK
    after = tree.rolled_back(marked, "one", "2" * 8 + "-2222-2222-2222-" + "2" * 12)
    assert after.settings == {
        "boot": "order=scsi0",
        "memory": "256",
        "parent": "one",
        "scsi0": "local:100/vm-100-disk-0.qcow2,size=2G",
        "scsi1": "local:100/vm-100-disk-1.qcow2,size=1G",
        "unused0": "local:100/vm-100-disk-3.qcow2",
        "unused1": "local:100/vm-100-disk-2.qcow2",
        "unused2": "local:100/vm-100-disk-5.qcow2",
    }
    assert not after.pending and after.lock is None
    assert after.document.description == "notes of the guest\n"
    assert section(after, "one") == section(config(), "one")


def test_a_guest_that_goes_back_learns_it_by_a_new_generation() -> None:
    new = "22222222-2222-2222-2222-222222222222"
    assert tree.rolled_back(config(), "two", new).text("vmgenid") == new


def test_an_unused_volume_that_was_a_drive_then_is_one_again() -> None:
    text = TEXT.replace("vm-100-disk-3.qcow2", "vm-100-disk-1.qcow2")
    after = tree.rolled_back(config(text), "one", "")
    assert "vm-100-disk-1" in after.text("scsi1")
    assert all("vm-100-disk-1" not in disk.file for disk in after.unused.values())


def test_a_section_that_says_something_wrong_is_named_before_anything_is_done() -> None:
    with pytest.raises(GuestConfigError, match="memory"):
        tree.rolled_back(config(TEXT.replace("memory: 256", "memory: lots")), "one", "")


def test_what_came_after_a_deleted_snapshot_comes_after_its_parent() -> None:
    text = TEXT + "\n[three]\nparent: two\nsnaptime: 3000\nscsi0: local:100/vm-100-disk-0.qcow2,size=4G\n"
    after = tree.deleted(tree.marked(config(text), "two", Step.DELETE), "two")
    assert set(tree.snapshots(after)) == {"one", "three"}
    assert section(after, "three")["parent"] == "one"
    assert after.text("parent") == "one" and after.lock is None


def test_deleting_the_first_leaves_its_children_without_a_parent_and_its_own_volume_unused() -> None:
    after = tree.deleted(config(), "one")
    assert "parent" not in section(after, "two") and after.text("parent") == "two"
    assert {disk.file for disk in after.unused.values()} == {
        "local:100/vm-100-disk-3.qcow2",
        "local:100/vm-100-disk-1.qcow2",
    }


def test_deleting_the_only_one_leaves_no_trace() -> None:
    noted = tree.begun(config("memory: 64\nscsi0: local:100/vm-100-disk-0.qcow2\n"), "only", 1, "x")
    whole = tree.taken(noted, "only", {})
    after = tree.deleted(tree.marked(whole, "only", Step.DELETE), "only")
    assert after.document.render() == "memory: 64\nscsi0: local:100/vm-100-disk-0.qcow2\n"


def test_notes_change_and_nothing_else() -> None:
    after = tree.described(config(), "one", "other words")
    assert tree.snapshot(after, "one").description == "other words\n"
    assert section(after, "one") == section(config(), "one")


def test_a_destroyed_guests_snapshots_go_with_all_that_is_theirs() -> None:
    assert [str(volume) for volume in tree.volumes(config())] == [
        "local:100/vm-100-disk-0.qcow2",
        "local:100/vm-100-disk-1.qcow2",
        "local:100/vm-100-state-two.raw",
    ]
