"""A corosync.conf that is written by hand at /etc/pve is refused at its close, or spread (mission W18)."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
from msgspec.structs import replace

from kvorum.core.paths import Paths
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster
from kvorum.store import Member, Membership
from kvorum.store.corosync_conf import REFUSED, RUNNING
from kvorum.store.daemon import running_store
from kvorum.store.filesystem import Filesystem
from kvorum.store.host import Host
from kvorum.store.membership import MembershipSource

CTX: Any = SimpleNamespace(uid=0, gid=0, pid=os.getpid())
ROOT: Any = pyfuse3.ROOT_INODE
MADE = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})).with_node(
    ConfiguredNode("n2", 2, 1, {0: "10.0.0.2"})
)
NEW = MADE.with_votes("n1", 2).bumped()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with running_store(Paths.under(tmp_path), node="n1", fuse=False, corosync=False) as it:
        await it.transact([], (), "", 5)
        yield it


@pytest.fixture
async def face(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Filesystem]:
    """Node n1 of a cluster of two, both here, running ``MADE``."""
    for name in ("invalidate_inode", "invalidate_entry"):
        monkeypatch.setattr(pyfuse3, name, lambda *_: None)
    running = tmp_path / "corosync.conf"
    running.write_text(MADE.text)
    membership = MembershipSource(running, "n1")
    here = (Member("n1", 1, "10.0.0.1", True), Member("n2", 2, "10.0.0.2", True))
    membership.current = Membership("home", here, True, 1, config_version=1)
    it = Filesystem(host, membership)
    monkeypatch.setattr(host, "published", lambda: published)
    published = {(node, RUNNING): (b"1", 30.0) for node in ("n1", "n2")}
    monkeypatch.setattr(
        host, "publish", lambda key, value, ttl: published.update({("n1", key): (value, ttl)})
    )
    await written(it, b"corosync.conf", MADE.text)
    yield it
    it.close()


async def written(face: Filesystem, name: bytes, text: str) -> None:
    """What an editor does; raises at the close, as it sees it."""
    if face._tree.read(name.decode()) is None:
        info, _ = await face.create(ROOT, name, 0o640, os.O_RDWR, CTX)  # type: ignore[arg-type]
    else:
        inode = (await face.lookup(ROOT, name, CTX)).st_ino  # type: ignore[arg-type]
        info = await face.open(inode, os.O_WRONLY | os.O_TRUNC, CTX)  # type: ignore[arg-type]
    try:
        await face.write(info.fh, 0, text.encode())
        await face.flush(info.fh)
    finally:
        await face.release(info.fh)


def stored(host: Host) -> str | None:
    file = host.tree.read("corosync.conf")
    return file.text if file else None


async def test_a_good_edit_is_taken_and_a_copy_is_nobodys_business(face: Filesystem, host: Host) -> None:
    await written(face, b"corosync.conf.bak", "whatever")
    await written(face, b"corosync.conf", NEW.text)
    assert stored(host) == NEW.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NEW.text.replace("nodelist {", "nodelist"), "line 5"),
        (MADE.with_votes("n1", 2).text, "a change needs a greater one"),
        ("", "there is no section 'totem'"),
        (NEW.without_node("n2").text, "missing in the new one"),
    ],
)
async def test_a_bad_edit_is_refused_at_its_close_with_the_reason(
    face: Filesystem, host: Host, text: str, sentence: str
) -> None:
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await written(face, b"corosync.conf", text)
    assert refused.value.errno == errno.EINVAL
    assert stored(host) == MADE.text
    assert sentence in host.published()["n1", REFUSED][0].decode()
    assert sentence in face._virtual.content(".members").decode()
    await written(face, b"corosync.conf", NEW.text)
    assert host.published()["n1", REFUSED][0] == b""
    assert b"refused" not in face._virtual.content(".members")


async def test_an_editor_that_moves_files_into_place_is_judged_alike(face: Filesystem, host: Host) -> None:
    await written(face, b"corosync.conf.new", MADE.with_votes("n1", 2).text)
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await face.rename(ROOT, b"corosync.conf.new", ROOT, b"corosync.conf", 0, CTX)  # type: ignore[arg-type]
    assert refused.value.errno == errno.EINVAL and stored(host) == MADE.text
    await written(face, b"corosync.conf.new", NEW.text)
    await face.rename(ROOT, b"corosync.conf.new", ROOT, b"corosync.conf", 0, CTX)  # type: ignore[arg-type]
    assert stored(host) == NEW.text


async def test_an_editor_that_moved_the_old_one_away_is_judged_by_what_runs(
    face: Filesystem, host: Host
) -> None:
    """vim's way with backups: away, anew, and back when that failed."""
    await face.rename(ROOT, b"corosync.conf", ROOT, b"corosync.conf~", 0, CTX)  # type: ignore[arg-type]
    with pytest.raises(pyfuse3.FUSEError):
        await written(face, b"corosync.conf", MADE.with_votes("n1", 2).text)
    await face.rename(ROOT, b"corosync.conf~", ROOT, b"corosync.conf", 0, CTX)  # type: ignore[arg-type]
    assert stored(host) == MADE.text


async def test_a_node_that_does_not_follow_yet_is_waited_for(face: Filesystem, host: Host) -> None:
    await written(face, b"corosync.conf", NEW.text)
    again = Configuration.read(NEW.text).with_votes("n1", 3).bumped()
    with pytest.raises(pyfuse3.FUSEError):
        await written(face, b"corosync.conf", again.text)
    assert "does not say that it runs version 2" in host.published()["n1", REFUSED][0].decode()


async def test_the_votes_of_nodes_that_are_away_are_not_counted_on(face: Filesystem, host: Host) -> None:
    now = face._membership.current
    gone = (now.members[0], replace(now.members[1], online=False))
    face._membership.current = replace(now, members=gone)
    with pytest.raises(pyfuse3.FUSEError):
        await written(face, b"corosync.conf", MADE.with_votes("n2", 2).bumped().text)
    assert "would have 1 of the 2 votes needed" in host.published()["n1", REFUSED][0].decode()
