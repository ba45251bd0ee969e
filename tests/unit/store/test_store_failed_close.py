"""The file system asked as the kernel asks it, where a mount can't make the moment."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from unittest.mock import Mock

import pyfuse3
import pytest

from kvorum.core.errors import KvorumError, NoQuorum, OutcomeUnknown
from kvorum.core.paths import Paths
from kvorum.store.daemon import running_store
from kvorum.store.filesystem import Filesystem
from kvorum.store.inodes import ROOT
from kvorum.store.membership import MembershipSource

WHO = Mock(spec=pyfuse3.RequestContext, uid=0, gid=0, pid=1, umask=0)


@pytest.mark.parametrize(
    ("error", "number"), [(NoQuorum("no"), errno.EROFS), (OutcomeUnknown("perhaps"), errno.EIO)]
)
async def test_what_a_close_could_not_write_is_not_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: KvorumError, number: int
) -> None:
    """The kernel asks twice at a close: ``flush``, which answers the program, and then ``release``."""
    forgotten = threading.Event()
    monkeypatch.setattr(pyfuse3, "invalidate_entry", lambda parent, name: forgotten.set())
    paths = Paths.under(tmp_path)
    async with running_store(paths, node="n1", fuse=False, corosync=False) as host:
        await host.transact((), (), "test", 20)
        filesystem = Filesystem(host, MembershipSource(None, "n1"), lambda: None)
        try:
            info, _ = await filesystem.create(ROOT, b"f", 0o640, os.O_WRONLY, WHO)
            await filesystem.write(info.fh, 0, b"refused")
            with monkeypatch.context() as refusing:

                async def refuse(*_: object) -> int:
                    raise error

                refusing.setattr(host, "transact", refuse)
                with pytest.raises(pyfuse3.FUSEError) as refused:
                    await filesystem.flush(info.fh)
            assert refused.value.errno == number
            await filesystem.release(info.fh)
            assert host.tree.read("f") is None
            assert forgotten.wait(10), "the kernel does not keep the name, or the next try would meet ENOENT"
            info, _ = await filesystem.create(ROOT, b"f", 0o640, os.O_WRONLY, WHO)
            await filesystem.write(info.fh, 0, b"taken")
            await filesystem.flush(info.fh)
            await filesystem.release(info.fh)
            file = host.tree.read("f")
            assert file is not None and file.data == b"taken"
        finally:
            filesystem.close()


async def test_a_later_close_of_the_same_file_writes_what_an_earlier_one_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``{ a; b; } > f``: no hole is where a's lines belong."""
    async with running_store(Paths.under(tmp_path), node="n1", fuse=False, corosync=False) as host:
        await host.transact((), (), "test", 20)
        filesystem = Filesystem(host, MembershipSource(None, "n1"), lambda: None)
        try:
            info, _ = await filesystem.create(ROOT, b"f", 0o640, os.O_WRONLY, WHO)
            await filesystem.write(info.fh, 0, b"a\n")
            with monkeypatch.context() as refusing:

                async def refuse(*_: object) -> int:
                    raise NoQuorum("no")

                refusing.setattr(host, "transact", refuse)
                with pytest.raises(pyfuse3.FUSEError):
                    await filesystem.flush(info.fh)
            await filesystem.write(info.fh, 2, b"b\n")
            await filesystem.flush(info.fh)
            await filesystem.release(info.fh)
            file = host.tree.read("f")
            assert file is not None
            assert file.data == b"a\nb\n"
        finally:
            filesystem.close()
