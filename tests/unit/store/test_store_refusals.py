"""Which errno stands for which sentence of the tree: what another node's change made impossible meanwhile."""

from __future__ import annotations

import errno

import pytest
from pyfuse3 import FUSEError

from kvorum.core.errors import Conflict
from kvorum.store import Delete, MakeDirectory, Operation, Rename, Touch, Write, tree
from kvorum.store.refusals import check_size, errno_of
from kvorum.store.tree import Tree


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree with a guest, a file, an empty and a full directory, and room for 100 bytes."""
    it = Tree()
    operations = [Write("nodes/a/qemu-server/1.conf", b"x"), Write("f", b"12345"), MakeDirectory("empty")]
    it.apply([*operations, Write("full/f", b"")], (), 1, 0.0)
    monkeypatch.setattr(tree, "MAX_TOTAL_BYTES", 100)
    monkeypatch.setattr(tree, "MAX_FILE_BYTES", 200)
    return it


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        (Write("nodes/b/lxc/1.conf", b""), errno.EEXIST),
        (Rename("f", "nodes/b/lxc/1.conf"), errno.ENOENT),
        (Rename("f", "nodes/a/2.conf/x"), errno.ENOENT),
        (Write("g", bytes(100)), errno.ENOSPC),
        (Write("g", bytes(201)), errno.EFBIG),
        (Write("full", b""), errno.EISDIR),
        (Write("f/g", b""), errno.ENOTDIR),
        (Delete("full"), errno.ENOTEMPTY),
        (Delete("gone"), errno.ENOENT),
        (Touch("gone", 1.0), errno.ENOENT),
        (MakeDirectory("f"), errno.EEXIST),
        (MakeDirectory("full"), errno.EEXIST),
        (Rename("gone", "g"), errno.ENOENT),
        (Rename("full", "g"), errno.ENOTEMPTY),
        (Rename("empty", "f"), errno.EEXIST),
        (Rename("f", "full"), errno.EISDIR),
    ],
)
def test_what_the_group_refuses_has_the_errno_of_a_local_refusal(
    small: Tree, operation: Operation, number: int
) -> None:
    before = sorted(small.files(), key=lambda file: file.path)
    with pytest.raises(Conflict) as refused:
        small.apply([operation], (), 2, 0.0)
    assert errno_of(str(refused.value)) == number, refused.value
    assert sorted(small.files(), key=lambda file: file.path) == before


def test_no_more_entries_is_no_space(small: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", small.entries)
    for operation in (Write("g", b""), MakeDirectory("g"), Write("new/g", b"")):
        with pytest.raises(Conflict) as refused:
            small.apply([operation], (), 2, 0.0)
        assert errno_of(str(refused.value)) == errno.ENOSPC, refused.value
    assert small.entries == tree.MAX_ENTRIES


def test_a_full_store_still_takes_what_does_not_make_it_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.store.refusals.MAX_TOTAL_BYTES", 5)
    full = Tree()
    full.apply([Write("f", b"12345")], (), 1, 0.0)
    check_size(full, 5, 5)
    check_size(full, 5, 2)
    with pytest.raises(FUSEError) as refused:
        check_size(full, 5, 6)
    assert refused.value.errno == errno.ENOSPC
    with pytest.raises(FUSEError) as refused:
        check_size(full, 0, tree.MAX_FILE_BYTES + 1)
    assert refused.value.errno == errno.EFBIG
