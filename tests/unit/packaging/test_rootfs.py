"""The keys and names by which roots are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.lab import rootfs

NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9+.-]{1,12}", fullmatch=True), max_size=6)


def test_the_key_follows_the_debs_content_not_its_name(tmp_path: Path) -> None:
    one, same, other = tmp_path / "a.deb", tmp_path / "b.deb", tmp_path / "c.deb"
    one.write_bytes(b"x")
    same.write_bytes(b"x")
    other.write_bytes(b"y")
    assert rootfs.key("node", ["dbus"], one) == rootfs.key("node", ["dbus"], same)
    assert rootfs.key("node", ["dbus"], one) != rootfs.key("node", ["dbus"], other)
    assert rootfs.key("node", ["dbus"], None) != rootfs.key("plain", ["dbus"], None)


@given(NAMES)
def test_the_order_of_packages_does_not_matter(names: list[str]) -> None:
    assert rootfs.key("node", names, None) == rootfs.key("node", sorted(names, reverse=True), None)


@given(NAMES)
def test_another_package_is_another_key(names: list[str]) -> None:
    assert rootfs.key("node", names, None) != rootfs.key("node", [*names, "UNIQUE"], None)


def test_dependencies_lose_versions_architectures_and_alternatives() -> None:
    fields = (
        "Depends: python3 (>= 3.13), libc6:amd64 (>= 2),\n"
        " corosync [amd64] | pacemaker, dbus\nPre-Depends: dpkg (>= 1)\n"
    )
    assert rootfs.names_in(fields) == ["python3", "libc6", "corosync", "dbus", "dpkg"]


def test_a_root_gets_its_name_only_when_whole(tmp_path: Path) -> None:
    def fail(beside: Path) -> None:
        beside.mkdir()
        raise rootfs.RootError("no room")

    with pytest.raises(rootfs.RootError, match="no room"):
        rootfs._whole(tmp_path / "node-base-1", fail)
    assert list(tmp_path.iterdir()) == []


def test_old_roots_go_and_used_ones_stay(tmp_path: Path) -> None:
    for age in range(5):
        root = tmp_path / f"node-base-{age}"
        root.mkdir()
        os.utime(root, (1000 - age, 1000 - age))
    (tmp_path / "plain-base-9").mkdir()
    rootfs._remove_old(tmp_path, "node", {tmp_path / "node-base-4"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "node-base-0",
        "node-base-1",
        "node-base-4",
        "plain-base-9",
    ]


def test_a_root_that_is_there_is_given_without_a_build(tmp_path: Path) -> None:
    root = tmp_path / f"plain-base-{rootfs.key('plain', ['dbus'], None)}"
    root.mkdir()
    assert rootfs.cached_root("plain", ["dbus"], cache=tmp_path) == root
