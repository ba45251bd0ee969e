"""The ``zfs`` command: its words for what goes wrong become ours; zvols are asked for where there are any."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kvorum.core.ids import VolumeId
from kvorum.storage import NoSpace, StorageEntry, StorageError, zfs, zfspool
from kvorum.storage.zfspool import ZfsPoolStorage

OPTIONS = {"pool": "tank/vms", "content": "images", "blocksize": "16k"}


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``zfs`` that notes how it is called, and says and does what the file ``answer`` has (Python)."""
    program = tmp_path / "zfs"
    program.write_text(
        f"#!{sys.executable} -ISs\nimport sys\nfrom pathlib import Path\nhere = Path({str(tmp_path)!r})\n"
        "with (here / 'calls').open('a') as calls:\n    calls.write(' '.join(sys.argv[1:]) + chr(10))\n"
        "exec((here / 'answer').read_text())\n"
    )
    program.chmod(0o755)
    (tmp_path / "answer").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("cannot open 'x': dataset does not exist", zfs.NoDataset, "does not exist"),
        ("cannot create 'x': dataset already exists", zfs.DatasetExists, "already exists"),
        ("cannot create 'x': out of space", NoSpace, "out of space"),
        ("connect: No such file\nPlease make sure that the zfs-fuse daemon is running.\nerror: failed "
         "to initialize ZFS library", StorageError, "ZFS does not run"),
        ("The ZFS modules are not loaded.\nTry running modprobe", StorageError, "ZFS does not run"),
        ("cannot destroy 'x': filesystem has dependent clones\nuse '-R'", StorageError, "clones$"),
        ("", StorageError, "ended with status 1"),
    ],
)  # fmt: skip
def test_each_failure_is_one_sentence_of_its_kind(say: Path, words: str, kind: type, said: str) -> None:
    (say / "answer").write_text(f"sys.exit({words!r} or 1)")
    with pytest.raises(StorageError, match=said) as error:
        zfs.run("create", "x")
    assert type(error.value) is kind and "\n" not in str(error.value)


def test_a_node_without_zfs_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageError, match="install the package zfsutils-linux"):
        ZfsPoolStorage(StorageEntry("zfspool", "s1", OPTIONS)).status_blocking()


def test_what_is_busy_is_asked_again_until_it_lets_go_and_not_for_ever(
    say: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = "sys.exit('cannot destroy: dataset is busy')"
    (say / "answer").write_text(f"if (here / 'calls').read_text().count(chr(10)) < 3: {busy}")
    zfs.run("destroy", "x", patient=True)
    assert (say / "calls").read_text() == "destroy x\n" * 3
    (say / "answer").write_text(busy)
    with pytest.raises(StorageError, match="busy"):
        zfs.run("destroy", "x")
    monkeypatch.setattr(zfs, "BUSY_S", 0.1)
    with pytest.raises(StorageError, match="busy"):
        zfs.run("destroy", "x", patient=True)


@pytest.mark.parametrize(("sparse", "flag"), [("1", " -s"), ("0", "")])
def test_where_the_kernel_has_zfs_a_disk_is_a_volume_of_whole_blocks(
    say: Path, monkeypatch: pytest.MonkeyPatch, sparse: str, flag: str
) -> None:
    monkeypatch.setattr(zfspool, "KERNEL", say)
    monkeypatch.setattr(zfspool, "_await_device", lambda path: None)
    kind = ZfsPoolStorage(StorageEntry("zfspool", "s1", {**OPTIONS, "sparse": sparse}))
    volume = VolumeId("s1", "vm-100-disk-0")
    assert str(kind.path(volume)) == "/dev/zvol/tank/vms/vm-100-disk-0"
    kind._claim(volume, (5 << 20) + 1024)
    created = f"create{flag} -b 16k -V {6 << 20} tank/vms/vm-100-disk-0\n"
    assert (say / "calls").read_text() == created
    assert kind.capabilities.thin == (sparse == "1")
