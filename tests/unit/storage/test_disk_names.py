"""The names of disks: taken apart, put together, and nothing else taken for one."""

from __future__ import annotations

import pytest

from kvorum.storage.disk_names import DiskName

CLONE = "100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2"


def parsed(text: str) -> DiskName:
    name = DiskName.parse(text)
    assert name is not None
    return name


@pytest.mark.parametrize(
    "text", ["100/vm-100-disk-0.qcow2", "100/base-100-disk-0.raw", "100/vm-7-state-a_b.raw", CLONE]
)
def test_a_name_prints_back(text: str) -> None:
    assert str(parsed(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "100/disk.qcow2",
        "100/vm-100-disk-0.vmdk",
        "100/../vm-100-disk-0.raw",
        "iso/vm-100-disk-0.raw",
        "100/vm-100-disk-0.qcow2/101/vm-101-disk-0.qcow2",
        f"{CLONE}/102/vm-102-disk-0.qcow2",
        "../base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2",
    ],
)
def test_what_is_no_disk_is_none(text: str) -> None:
    assert DiskName.parse(text) is None


def test_a_clone_lies_in_its_own_guests_folder_and_names_its_base() -> None:
    clone = parsed(CLONE)
    assert clone.file == "101/vm-101-disk-0.qcow2"
    assert clone.backing_file == "../100/base-100-disk-0.qcow2"
    assert str(clone.handed_to(105)) == "100/base-100-disk-0.qcow2/105/vm-105-disk-0.qcow2"


def test_a_disk_that_is_named_for_another_guest_keeps_its_name_in_a_new_folder() -> None:
    assert str(parsed("100/vm-7-disk-0.raw").handed_to(9)) == "9/vm-7-disk-0.raw"


@pytest.mark.parametrize(
    ("backing", "parent"),
    [
        ("../100/base-100-disk-0.qcow2", "100/base-100-disk-0.qcow2"),
        ("../100/vm-100-disk-0.qcow2", ""),
        ("/etc/passwd", ""),
        ("../../100/base-100-disk-0.qcow2", ""),
        ("../100/base-100-disk-0.qcow2/../../x", ""),
        ("", ""),
    ],
)
def test_only_a_base_of_the_same_storage_is_a_parent(backing: str, parent: str) -> None:
    assert parsed("101/vm-101-disk-0.qcow2").on(backing).parent == parent
