"""What is kept is there for whoever uses it, whatever others build or remove at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kvorum.lab import cache, rootfs

HOLDER = """
import sys
from pathlib import Path
from kvorum.lab import cache
print(cache.hold(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_another_process_that_holds_a_root_keeps_it_until_it_ends(tmp_path: Path) -> None:
    root = tmp_path / "node-base-1"
    (root / "etc").mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout and holder.stdout.readline() == "True\n"
        assert not cache.remove(root)
        assert (root / "etc").is_dir()
        holder.kill()
    assert cache.remove(root)
    assert list(tmp_path.iterdir()) == []


def test_old_roots_that_are_held_stay_beyond_the_number_kept(tmp_path: Path) -> None:
    for age in range(4):
        (tmp_path / f"node-deb-{age}").mkdir()
        os.utime(tmp_path / f"node-deb-{age}", (1000 - age, 1000 - age))
    user = os.open(tmp_path / "node-deb-3", os.O_RDONLY)
    fcntl.flock(user, fcntl.LOCK_SH)
    rootfs._remove_old(tmp_path, "node", set())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node-deb-0", "node-deb-1", "node-deb-3"]
    os.close(user)
    rootfs._remove_old(tmp_path, "node", set())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node-deb-0", "node-deb-1"]


def test_what_is_not_there_can_not_be_held_and_what_came_back_can(tmp_path: Path) -> None:
    root = tmp_path / "plain-base-1"
    assert not cache.hold(root)
    root.mkdir()
    assert cache.hold(root)
    root.rmdir()
    assert not cache.hold(root)
    root.mkdir()
    assert cache.hold(root)
    assert not cache.remove(root)


def test_two_builders_make_a_root_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    inside = threading.Event()
    waits = threading.Event()

    def bootstrap(beside: Path, *_: object) -> None:
        inside.set()
        assert waits.wait(10)  # the second builder has come meanwhile
        made.append(beside)
        beside.mkdir()

    monkeypatch.setattr(rootfs, "_bootstrap", bootstrap)
    monkeypatch.setattr(rootfs, "_check_host", lambda: None)
    got: list[Path] = []

    def build() -> None:
        got.append(rootfs.cached_root("node", ["dbus"], cache=tmp_path, say=lambda line: waits.set()))

    first, second = threading.Thread(target=build), threading.Thread(target=build)
    first.start()
    assert inside.wait(10)
    second.start()
    first.join(20)
    second.join(20)
    assert len(made) == 1
    assert got[0] == got[1]
    assert got[0].is_dir()


def test_what_a_killed_builder_left_goes_with_the_next(tmp_path: Path) -> None:
    for name in (".building-x", ".removing-node-base-1"):
        (tmp_path / name / "root").mkdir(parents=True)
    with cache.alone(tmp_path, lambda line: None):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_environment_moves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVORUM_LAB_CACHE", "/elsewhere")
    assert cache.place() == Path("/elsewhere")
    monkeypatch.setenv("KVORUM_LAB_CACHE", "")
    assert cache.place() == cache.DEFAULT
