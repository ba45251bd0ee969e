"""The lossy disk: cut = load what was carried out so far."""

import errno
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.lab import lossy_backing
from kvorum.lab.lossy_disk import ROOT, Inode, LossyDisk

FILE = Inode(stat.S_IFREG | 0o644, 0, 0, 0)
FOLDER = Inode(stat.S_IFDIR | 0o755, 0, 0, 0)


class Box:
    """A lossy disk with its backing directory."""

    def __init__(self, folder):
        self.folder = folder
        self.cut()

    def cut(self):
        self.disk = LossyDisk(*lossy_backing.load(self.folder))

    def sync(self, ino):
        lossy_backing.carry_out(self.folder, self.disk.sync(ino))

    def content(self, name):
        return self.disk.read(self.disk.find(ROOT, name), 0, 1 << 20)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_an_unsynced_file_is_gone_after_a_cut(box):
    box.disk.write(box.disk.add(ROOT, "a", FILE), 0, b"x")
    box.cut()
    with pytest.raises(OSError) as gone:
        box.disk.find(ROOT, "a")
    assert gone.value.errno == errno.ENOENT


def test_a_synced_file_is_there_with_its_name_and_content(box):
    a = box.disk.add(ROOT, "a", FILE)
    box.disk.write(a, 0, b"hello")
    box.sync(a)
    box.disk.write(a, 5, b" lost")
    box.cut()
    assert box.content("a") == b"hello"


def test_a_sync_of_another_file_keeps_names_but_no_content(box):
    a, b = box.disk.add(ROOT, "a", FILE), box.disk.add(ROOT, "b", FILE)
    box.disk.write(a, 0, b"unsynced")
    box.sync(b)
    box.cut()
    assert box.content("a") == b""


def test_a_rename_after_the_last_sync_is_undone(box):
    old, new = box.disk.add(ROOT, "f", FILE), box.disk.add(ROOT, "f.new", FILE)
    box.disk.write(old, 0, b"old")
    box.disk.write(new, 0, b"new")
    box.sync(old)
    box.sync(new)
    box.disk.rename(ROOT, "f.new", ROOT, "f")
    assert box.content("f") == b"new"
    box.cut()
    assert box.content("f") == b"old"


def test_a_rename_is_kept_by_a_sync_of_the_directory(box):
    new = box.disk.add(ROOT, "f.new", FILE)
    box.disk.write(new, 0, b"new")
    box.sync(new)
    box.disk.rename(ROOT, "f.new", ROOT, "f")
    box.sync(ROOT)
    box.cut()
    assert box.content("f") == b"new"


def test_replacing_without_syncing_the_new_content_leaves_an_empty_file(box):
    old = box.disk.add(ROOT, "f", FILE)
    box.disk.write(old, 0, b"old")
    box.sync(old)
    box.disk.write(box.disk.add(ROOT, "f.new", FILE), 0, b"new")
    box.disk.rename(ROOT, "f.new", ROOT, "f")
    box.sync(ROOT)
    box.cut()
    assert box.content("f") == b""


def test_a_directory_made_and_not_synced_is_gone(box):
    folder = box.disk.add(ROOT, "d", FOLDER)
    box.sync(ROOT)
    box.disk.add(folder, "inner", FOLDER)
    box.cut()
    assert box.disk.inode(box.disk.find(ROOT, "d")).entries == {}


def test_a_removed_file_comes_back_unless_that_was_synced(box):
    a = box.disk.add(ROOT, "a", FILE)
    box.disk.write(a, 0, b"x")
    box.sync(a)
    box.disk.remove(ROOT, "a", directory=False)
    box.disk.forget(a)
    box.cut()
    assert box.content("a") == b"x"
    box.disk.remove(ROOT, "a", directory=False)
    box.disk.forget(a)
    box.sync(ROOT)
    box.cut()
    assert box.disk.inode(ROOT).entries == {}
    assert not [p for p in box.folder.iterdir() if p.name.isdigit()]


def test_a_truncation_that_was_not_synced_is_undone(box):
    a = box.disk.add(ROOT, "a", FILE)
    box.disk.write(a, 0, b"0123456789")
    box.sync(a)
    box.disk.truncate(a, 3)
    box.cut()
    assert box.content("a") == b"0123456789"


def test_a_cut_off_tail_does_not_come_back_when_the_file_grows_again(box):
    a = box.disk.add(ROOT, "a", FILE)
    box.disk.write(a, 0, b"0123456789")
    box.sync(a)
    box.disk.truncate(a, 3)
    box.disk.truncate(a, 10)
    box.sync(a)
    box.cut()
    assert box.content("a") == b"012" + bytes(7)


def test_a_full_directory_is_not_removed(box):
    folder = box.disk.add(ROOT, "d", FOLDER)
    box.disk.add(folder, "f", FILE)
    with pytest.raises(OSError) as refused:
        box.disk.remove(ROOT, "d", directory=True)
    assert refused.value.errno == errno.ENOTEMPTY


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 60), st.binary(min_size=1, max_size=20)),
        st.tuples(st.just("truncate"), st.integers(0, 80), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
    ),
    max_size=30,
)


def test_a_full_disk_takes_nothing_more_until_something_is_removed():
    disk = LossyDisk({}, {}, capacity=100)
    kept, ballast = disk.add(ROOT, "kept", FILE), disk.add(ROOT, "ballast", FILE)
    disk.write(kept, 0, bytes(10))
    disk.write(ballast, 0, bytes(90))
    assert disk.free == 0
    for grow in (lambda: disk.write(kept, 10, b"x"), lambda: disk.truncate(kept, 11)):
        with pytest.raises(OSError) as refused:
            grow()
        assert refused.value.errno == errno.ENOSPC
    disk.write(kept, 0, b"in place is no growth"[:10])
    assert disk.size(kept) == 10
    disk.remove(ROOT, "ballast", directory=False)
    disk.forget(ballast)
    assert disk.free == 90
    disk.write(kept, 10, b"x")
    disk.truncate(kept, 0)
    assert disk.free == disk.capacity


def test_a_cut_gives_back_the_room_of_what_was_not_synced(box):
    ballast = box.disk.add(ROOT, "ballast", FILE)
    box.disk.write(ballast, 0, bytes(1000))
    box.cut()
    assert box.disk.free == box.disk.capacity


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_after_a_cut_a_file_is_exactly_what_it_was_at_its_last_sync(tmp_path_factory, steps):
    box = Box(tmp_path_factory.mktemp("disk"))
    a = box.disk.add(ROOT, "a", FILE)
    box.sync(a)
    now = durable = b""
    for what, number, data in steps:
        if what == "write":
            box.disk.write(a, number, data)
            now = now[:number].ljust(number, b"\0") + data + now[number + len(data) :]
        elif what == "truncate":
            box.disk.truncate(a, number)
            now = now[:number].ljust(number, b"\0")
        else:
            box.sync(a)
            durable = now
    assert box.content("a") == now
    box.cut()
    assert box.content("a") == durable
