"""Files that come into a storage: whole under their name or not at all."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from kvorum.core.errors import ParameterError
from kvorum.core.ids import VolumeId
from kvorum.core.paths import Paths
from kvorum.storage import HalfMade, StorageEntry, StorageError, Storages
from kvorum.storage.arrival import Arrival, file_name, place
from kvorum.storage.directory import DirectoryStorage
from kvorum.storage.fetch import fetching, look
from kvorum.store.memory import MemoryStore

DATA = b"0123456789" * 300_000


async def pieces(data: bytes = DATA, fail: bool = False) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 65536):
        yield data[at : at + 65536]
    if fail:
        raise ParameterError({}, "the client is gone")


def arriving(path: Path, algorithm: str | None = None) -> Arrival:
    """An arrival whose notes lie beside the folder it comes into."""
    root = path.parent.with_name(f"{path.parent.name}.node")
    storages = Storages(MemoryStore("n1"), Paths.under(root))
    return Arrival(path, HalfMade(storages, root / "notes"), algorithm)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_it_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "iso" / "x.iso"
    arrival = arriving(path, "sha256")
    assert await arrival.take(pieces()) == len(DATA)
    assert not path.exists()
    await arrival.settle(hashlib.sha256(DATA).hexdigest().upper())
    assert path.read_bytes() == DATA and left(path.parent) == ["x.iso"]
    assert path.stat().st_mode & 0o777 == 0o644, "guests' QEMUs read it under a uid of their own"


async def test_a_wrong_checksum_names_both_and_leaves_nothing(tmp_path: Path) -> None:
    arrival = arriving(tmp_path / "x.iso", "md5")
    await arrival.take(pieces(b"abc"))
    with pytest.raises(StorageError, match="md5 is '900150983cd24fb0d6963f7d28e17f72', expected 'dead'"):
        await arrival.settle("dead")
    assert left(tmp_path) == []


async def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        await arriving(tmp_path / "x.iso").take(pieces(fail=True))
    assert left(tmp_path) == []


async def test_a_name_that_is_taken_is_kept_unless_replacing_is_meant(tmp_path: Path) -> None:
    (tmp_path / "x.iso").write_text("old")
    second = arriving(tmp_path / "x.iso")
    await second.take(pieces(b"new"))
    with pytest.raises(StorageError, match="is there already"):
        await second.settle()
    assert (tmp_path / "x.iso").read_text() == "old" and left(tmp_path) == ["x.iso"]
    third = arriving(tmp_path / "x.iso")
    await third.take(pieces(b"new"))
    await third.settle(replace=True)
    assert (tmp_path / "x.iso").read_text() == "new"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("x.iso", "x.iso"),
        ("../../etc/x y.ISO", "x_y.ISO"),
        ("C:\\d\\ü.img", "_.img"),
        ("a/.b/x.iso", "x.iso"),
    ],
)
def test_a_name_is_made_plain(given: str, name: str) -> None:
    assert file_name("iso", given) == name


@pytest.mark.parametrize(
    "given", ["", ".iso", "..", "../..", "x", "x.iso/", ".hidden.iso", "x.tar.gz", "-x.iso"]
)
def test_a_name_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ParameterError, match=r"Parameter verification failed"):
        file_name("iso", given)


def test_only_what_the_storage_holds_comes_in(tmp_path: Path) -> None:
    storage = DirectoryStorage(StorageEntry("dir", "local", {"path": str(tmp_path), "content": "images"}))
    with pytest.raises(StorageError, match="does not hold 'iso'"):
        place(storage, "iso", "x.iso")


async def test_what_is_on_its_way_is_not_listed(tmp_path: Path) -> None:
    storage = DirectoryStorage(StorageEntry("dir", "local", {"path": str(tmp_path), "content": "iso"}))
    volume, path = place(storage, "iso", "x.iso")
    assert volume == VolumeId("local", "iso/x.iso")
    arrival = arriving(path)
    await arrival.take(pieces(b"abc"))
    assert storage.list_blocking() == []
    await arrival.settle()
    assert [v.volid for v in storage.list_blocking()] == ["local:iso/x.iso"]


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A web server that offers ``/x.iso``, and ``/round``, which leads to itself."""

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=DATA, content_type="application/x-iso9660-image")

    async def round(request: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    app = web.Application()
    app.add_routes([web.get("/x.iso", file), web.get("/round", round)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    await runner.cleanup()


async def test_a_file_is_fetched_and_its_progress_told(server: str, tmp_path: Path) -> None:
    offer = await look(f"{server}/x.iso", True)
    assert offer == ("x.iso", "application/x-iso9660-image", len(DATA))
    told: list[float] = []
    arrival = arriving(tmp_path / "x.iso", "sha1")
    async with fetching(f"{server}/x.iso", True, "", told.append) as (_, chunks):
        await arrival.take(chunks)
    await arrival.settle(hashlib.sha1(DATA).hexdigest())
    assert (tmp_path / "x.iso").read_bytes() == DATA and told[-1] == 1.0


@pytest.mark.parametrize(
    ("path", "sentence"), [("/none.iso", "answers 404"), ("/round", "leads on more than 5 times")]
)
async def test_a_url_without_a_file_is_named(server: str, path: str, sentence: str) -> None:
    with pytest.raises(StorageError, match=sentence):
        async with fetching(f"{server}{path}", True):
            pass
    with pytest.raises(StorageError, match="can't be fetched"):
        await look("http://127.0.0.1:1/x.iso", True)
