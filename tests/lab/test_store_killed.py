"""The store's daemon is killed while the kernel waits for it: requests end, and it can be started again."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_face

from kvorum.core.paths import Paths

pytestmark = pytest.mark.skipif(bool(store_face.unavailable()), reason=store_face.unavailable() or "-")

Process = subprocess.Popen[str]
_MNT_FORCE, _MNT_DETACH = 1, 2
_DEADLINE_S = 20.0
_DAEMON = """
import asyncio, functools, pyfuse3, sys
from pathlib import Path
from kvorum.core.paths import Paths
from kvorum.store.daemon import run_store
from kvorum.store import invalidation
from kvorum.store.filesystem import Filesystem

async def rename(self, parent, name, *_):
    # The kernel holds the directory until this is answered; the notification waits for the directory.
    self._invalidation.put(functools.partial(pyfuse3.invalidate_entry, parent, b"other"))
    while self._invalidation._began is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    print("held", flush=True)
    await asyncio.get_running_loop().create_future()

Filesystem.rename = rename
invalidation.STALL_SECONDS = float(sys.argv[2])
asyncio.run(run_store(Paths.under(Path(sys.argv[1])), node="n1", fuse=True, corosync=False))
"""
_RENAME = "import os, sys; os.rename(sys.argv[1] + '/one', sys.argv[1] + '/two')"
_READY = "import os, sys, time\nwhile not os.path.ismount(sys.argv[1]): time.sleep(0.05)\n"
_WRITE = "open(sys.argv[1] + '/one', 'w').write('x')\nopen(sys.argv[1] + '/other', 'w').write('x')"


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths.under(tmp_path)
    yield paths
    while ctypes.CDLL(None).umount2(bytes(paths.etc_pve), _MNT_FORCE | _MNT_DETACH) == 0:
        pass


@contextlib.contextmanager
def holding(tmp_path: Path, paths: Paths, stall_s: float) -> Iterator[tuple[Process, Process]]:
    """A daemon and who renames something: each waits for the other, in the kernel."""
    argv = [sys.executable, "-c", _DAEMON, str(tmp_path), str(stall_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        prepare = [sys.executable, "-c", _READY + _WRITE, str(paths.etc_pve)]
        subprocess.run(prepare, check=True, timeout=_DEADLINE_S)
        renaming = [sys.executable, "-c", _RENAME, str(paths.etc_pve)]
        with subprocess.Popen(renaming, stderr=subprocess.PIPE, text=True) as renamer:
            try:
                assert daemon.stdout.readline() == "held\n"
                yield daemon, renamer
            finally:  # else what hangs now would hang for good
                ctypes.CDLL(None).umount2(bytes(paths.etc_pve), _MNT_FORCE)
            assert renamer.stderr is not None
            assert "ConnectionAborted" in renamer.stderr.read()


@pytest.mark.timeout(120)
def test_a_killed_daemon_leaves_nobody_waiting_for_it(paths: Paths, tmp_path: Path) -> None:
    with holding(tmp_path, paths, stall_s=60) as (daemon, renamer):
        daemon.kill()
        assert daemon.wait(_DEADLINE_S) == -signal.SIGKILL
        assert renamer.wait(_DEADLINE_S) == 1
    again = [sys.executable, "-m", "kvorum.store.daemon", "--root", str(tmp_path), "--node", "n1"]
    with subprocess.Popen(again) as daemon:
        looked = [
            sys.executable,
            "-c",
            _READY + "print(open(sys.argv[1] + '/one').read())",
            str(paths.etc_pve),
        ]
        found = subprocess.run(looked, check=True, timeout=_DEADLINE_S, stdout=subprocess.PIPE, text=True)
        assert found.stdout == "x\n"
        daemon.terminate()
        assert daemon.wait(_DEADLINE_S) == 0


@pytest.mark.timeout(120)
def test_a_daemon_whose_notifications_the_kernel_does_not_take_gives_requests_up(
    paths: Paths, tmp_path: Path
) -> None:
    with holding(tmp_path, paths, stall_s=0.5) as (daemon, renamer):
        assert renamer.wait(_DEADLINE_S) == 1
        assert daemon.wait(_DEADLINE_S) == -signal.SIGTERM
