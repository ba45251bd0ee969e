"""Volumes by the API: uploads and downloads as tasks, a disk's copy; no name leads out of a storage."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from stand_ins import Lines

from kvorum.core.errors import KvorumError, ParameterError, PermissionDenied
from kvorum.core.paths import Paths
from kvorum.interface import Caller, Identity, Pairs, Router, Services, Upload, Work
from kvorum.server import rooms
from kvorum.storage import HalfMade, StorageError, Storages
from kvorum.store.memory import MemoryStore

ROUTER = Router(rooms.methods())
ROOT = Identity("root@pam")


class Allow:
    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return identity.user == "root@pam"

    def groups(self, user: str) -> frozenset[str] | None:
        return frozenset()


class Keep:
    """Keeps the work instead of beginning it."""

    work: Work | None = None

    def start(self, work: Work, user: str) -> str:
        self.work = work
        return "UPID:kept"


class File(Upload):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._data


class World:
    """A node with its storage ``local``."""

    def __init__(self, root: Path) -> None:
        self.store, self.services, self.tasks = MemoryStore("n1"), Services(), Keep()
        paths = Paths.under(root)
        self.place = paths.state / "vz"
        storages = Storages(self.store, paths)
        self.services.add(Storages, storages)
        self.half_made = HalfMade(storages, paths.state / "half-made")
        self.services.add(HalfMade, self.half_made)
        self.caller = Caller(self.store, self.services, Allow(), self.tasks)

    async def call(
        self, verb: str, path: str, given: Mapping[str, str] | None = None, who: Identity = ROOT,
        upload: Upload | None = None,
    ) -> object:  # fmt: skip
        pairs: Pairs = list((given or {}).items())
        match = ROUTER.match(verb, path)
        self.caller.authorise(match, who, pairs)
        return await self.caller.call(match, who, pairs, upload)

    async def carried_out(self) -> list[str]:
        assert self.tasks.work is not None
        log = Lines()
        await self.tasks.work.run(log)
        return log.lines


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


UPLOAD = "/nodes/n1/storage/local/upload"


async def test_an_upload_is_a_task_that_ends_with_the_file_in_its_place(world: World) -> None:
    given = {"content": "iso", "filename": "debian.iso", "checksum-algorithm": "sha512"}
    given["checksum"] = hashlib.sha512(b"data").hexdigest()
    await world.call("POST", UPLOAD, given, upload=File(b"data"))
    assert world.tasks.work is not None and world.tasks.work.type == "imgcopy"
    assert not (world.place / "template/iso/debian.iso").exists()
    await world.carried_out()
    assert (world.place / "template/iso/debian.iso").read_bytes() == b"data"


async def test_a_wrong_checksum_fails_the_task(world: World) -> None:
    given = {"content": "iso", "filename": "x.iso", "checksum-algorithm": "md5", "checksum": "0" * 32}
    await world.call("POST", UPLOAD, given, upload=File(b"data"))
    with pytest.raises(KvorumError, match="checksum mismatch"):
        await world.carried_out()
    assert list((world.place / "template/iso").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"content": "images", "filename": "x.iso"}, "content"),
        ({"content": "iso", "filename": "x.exe"}, "filename"),
        ({"content": "iso", "filename": "x.iso", "checksum": "00"}, "checksum-algorithm"),
        ({"content": "iso", "filename": "x.iso", "checksum-algorithm": "md5"}, "checksum"),
        ({"content": "iso", "filename": "x.iso", "tmpfilename": "/etc/shadow"}, "tmpfilename"),
    ],
)
async def test_a_wrong_upload_is_named(world: World, given: dict[str, str], wrong: str) -> None:
    with pytest.raises(ParameterError) as caught:
        await world.call("POST", UPLOAD, given, upload=File(b"data"))
    assert wrong in caught.value.errors


LEADS_OUT = [
    "local:../../etc/passwd", "local:iso/../../../etc/passwd", "local:iso/..", "local:100/../../etc/passwd",
    "local:iso%2F..%2F..%2Fetc%2Fpasswd", "..%2F..%2Fetc%2Fpasswd", "local:/etc/passwd",
    "local:iso//etc/passwd",
    "local:iso/.%2e/x", "local:iso/x%00.iso",
]  # fmt: skip


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("volume", LEADS_OUT)
async def test_no_volume_name_leads_out_of_its_storage(world: World, verb: str, volume: str) -> None:
    given = {"PUT": {"notes": "n"}, "POST": {"target": "local:100/vm-100-disk-0.raw"}}.get(verb, {})
    with pytest.raises(KvorumError) as caught:
        await world.call(verb, f"/nodes/n1/storage/local/content/{volume}", given)
        await world.carried_out()
    assert "passwd" in str(caught.value) or "volume" in str(caught.value) or caught.value.code in (400, 501)


@pytest.mark.parametrize("target", ["local:../x.raw", "local:100/../../x.raw", "/etc/x.raw", "local:x.raw"])
@pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
async def test_no_copy_leads_out_of_its_storage(world: World, target: str) -> None:
    await world.services.get(Storages).get("local").allocate(100, 1 << 20, "raw")
    with pytest.raises(KvorumError):
        await world.call(
            "POST", "/nodes/n1/storage/local/content/local:100/vm-100-disk-0.raw", {"target": target}
        )


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
async def test_a_disk_is_copied_by_root_alone(world: World) -> None:
    made = await world.services.get(Storages).get("local").allocate(100, 1 << 20, "raw")
    (world.place / "images" / made.name).write_bytes(b"x" * (1 << 20))
    path = f"/nodes/n1/storage/local/content/{made}"
    given = {"target": "200/vm-200-disk-3.qcow2"}
    with pytest.raises(PermissionDenied):
        await world.call("POST", path, given, Identity("user@pve"))
    await world.call("POST", path, given)
    await world.carried_out()
    rows = await world.services.get(Storages).content("local", 200)
    assert [(row.volid, row.size) for row in rows] == [("local:200/vm-200-disk-3.qcow2", 1 << 20)]


async def test_a_download_comes_in_as_a_task(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndata")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.iso"
        given = {"content": "iso", "filename": "x.iso", "url": url}
        await world.call("POST", "/nodes/n1/storage/local/download-url", given)
        lines = await world.carried_out()
    assert (world.place / "template/iso/x.iso").read_bytes() == b"data" and lines[-1].endswith(
        "finished: 4 bytes"
    )
    with pytest.raises(KvorumError, match="refusing to override"):
        await world.call("POST", "/nodes/n1/storage/local/download-url", given)


@pytest.mark.parametrize("options", [("-b", "{secret}", "-F", "raw"), ("-o", "data_file={secret}")])
async def test_an_image_that_reaches_beyond_its_storage_is_not_copied(
    world: World, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Its content is a guest's, and what it names may be anybody's."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"the host's own".ljust(1 << 20, b"."))
    image = world.place / "images/100/vm-100-disk-0.qcow2"
    image.parent.mkdir(parents=True)
    given = [option.format(secret=secret) for option in options]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *given, image, "1M"], check=True)
    volume = "/nodes/n1/storage/local/content/local:100/vm-100-disk-0.qcow2"
    await world.call("POST", volume, {"target": "200/vm-200-disk-0.raw"})
    with pytest.raises(StorageError, match=re.escape(str(secret))):
        await world.carried_out()
    assert not (world.place / "images/200").exists()


async def test_a_volumes_path_is_told_also_where_nothing_lies(world: World) -> None:
    asked = "/kvorum/nodes/n1/volume-path"
    told = await world.call("GET", asked, {"volume": "local:100/vm-100-disk-0.qcow2"})
    assert told == str(world.place / "images/100/vm-100-disk-0.qcow2")
    assert await world.call("GET", asked, {"volume": "local:iso/a.iso"}) == str(
        world.place / "template/iso/a.iso"
    )
    with pytest.raises(ParameterError, match="volume"):
        await world.call("GET", asked, {"volume": "/etc/passwd"})
    with pytest.raises(StorageError, match="storage 'nowhere' does not exist"):
        await world.call("GET", asked, {"volume": "nowhere:100/a.raw"})
