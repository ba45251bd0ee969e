"""/etc/pve mounted while the store runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pyfuse3
import pyfuse3.asyncio

from kvorum.core.errors import KvorumError
from kvorum.store import last_will
from kvorum.store.filesystem import Filesystem
from kvorum.store.fuse_workers import FuseWorkers
from kvorum.store.host import Host
from kvorum.store.membership import MembershipSource

log = logging.getLogger(__name__)

_END_DEADLINE_S = 10.0


@contextlib.asynccontextmanager
async def mounted(host: Host, membership: MembershipSource, place: Path) -> AsyncIterator[None]:
    """/etc/pve while open; one per process. Raises ``KvorumError`` when it can't be mounted."""
    await _unmount(place)
    await asyncio.to_thread(place.mkdir, parents=True, exist_ok=True)
    pyfuse3.asyncio.enable()
    FuseWorkers().install()
    filesystem = Filesystem(host, membership, lambda: _abort(place))
    options = {*pyfuse3.default_options, "fsname=kvorum", "default_permissions", "allow_other"}
    if os.getuid() != 0:
        options.discard("allow_other")
    try:
        pyfuse3.init(filesystem, str(place), options)
    except RuntimeError as error:
        filesystem.close()
        raise KvorumError(f"'{place}' can't be mounted: {error}; is /dev/fuse there, and root?") from error
    task = asyncio.get_running_loop().create_task(pyfuse3.main())
    with _last_will(place):
        try:
            yield
        finally:
            pyfuse3.terminate()  # requests under way end first: an answer after the close would crash
            done, _ = await asyncio.wait({task}, timeout=_END_DEADLINE_S)
            filesystem.close()
            if done:
                pyfuse3.close(unmount=True)
            else:
                log.error("requests on '%s' did not end within %g s: given up", place, _END_DEADLINE_S)
                await asyncio.to_thread(last_will.end_requests, str(place))
                await _detach(place)


@contextlib.contextmanager
def _last_will(place: Path) -> Iterator[None]:
    """While open, what waits for the file system ends with this process, however that ends."""
    argv = [sys.executable, "-I", "-S", last_will.__file__, str(place)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            yield
        finally:
            with contextlib.suppress(BrokenPipeError):  # it was killed
                process.stdin.write(b"\n")
                process.stdin.flush()


def _abort(place: Path) -> None:
    """End the kernel's side of the mount, so that nothing hangs on it, and this daemon."""
    last_will.end_requests(str(place))
    os.kill(os.getpid(), signal.SIGTERM)


async def _unmount(place: Path) -> None:
    """Take away what a killed daemon left mounted (a dead FUSE mount answers ENOTCONN)."""
    try:
        await asyncio.to_thread(place.stat)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            await _detach(place)


async def _detach(place: Path) -> None:
    await asyncio.to_thread(subprocess.run, ["umount", "-l", str(place)], check=False, timeout=10)
