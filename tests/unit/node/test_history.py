"""The round-robin databases of nodes, guests and storages."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from pathlib import Path

import msgspec
import pytest

from kvorum.core.errors import KvorumError
from kvorum.guests import GuestRecord
from kvorum.guests.statistics import KEY as GUESTS
from kvorum.node.facts import Sampler
from kvorum.node.history import GUEST, NODE, STORAGE, TIMEFRAMES, Databases, Recorder, Schema
from kvorum.node.history.recorder import pause_s
from kvorum.node.history.samples import guest_sample, line, pressure
from kvorum.storage import StorageRecord
from kvorum.storage.statistics import KEY as STORAGES
from kvorum.store.memory import MemoryStore


@pytest.fixture
def databases(tmp_path: Path) -> Databases:
    return Databases(tmp_path / "run", tmp_path / "kept")


def minutes(count: int) -> list[int]:
    """The last minutes, as Unix times, oldest first."""
    now = int(time.time()) // 60 * 60
    return [now - 60 * back for back in range(count, -1, -1)]


def fill(databases: Databases, name: str = "100", count: int = 10) -> None:
    for number, at in enumerate(minutes(count)):
        databases.update(GUEST, name, at, {"cpu": 0.5, "maxcpu": 2, "netin": 6000 * number})


def test_what_was_recorded_is_read_back_and_counters_become_rates(databases: Databases) -> None:
    fill(databases)
    rows = databases.rows(GUEST, "100", "hour", "AVERAGE")
    assert len(rows) == TIMEFRAMES["hour"].rows
    full = [row for row in rows if "netin" in row]
    assert len(full) >= 8
    assert full[-1]["cpu"] == pytest.approx(0.5) and full[-1]["netin"] == pytest.approx(100)
    assert "mem" not in full[-1], "what is unknown is left out"
    times = [int(str(row["time"])) for row in rows]
    assert times == sorted(times) and {b - a for a, b in itertools.pairwise(times)} == {60}


@pytest.mark.parametrize("schema", [NODE, GUEST, STORAGE])
@pytest.mark.parametrize("function", ["AVERAGE", "MAX"])
def test_every_timeframe_of_every_kind_answers_in_its_own_steps(
    databases: Databases, schema: Schema, function: str
) -> None:
    for at in minutes(3):
        databases.update(schema, "n1/x", at, {schema.gauges[0]: 1})
    for name, frame in TIMEFRAMES.items():
        if name == "decade" and schema is not NODE:
            continue
        rows = databases.rows(schema, "n1/x", name, function)
        assert 0 < len(rows) <= frame.rows
        step = {int(str(b["time"])) - int(str(a["time"])) for a, b in itertools.pairwise(rows)}
        assert step == {frame.resolution_s}, name


def test_only_some_columns_where_only_they_are_asked(databases: Databases) -> None:
    fill(databases)
    rows = databases.rows(GUEST, "100", "hour", "MAX", ["cpu"])
    assert {key for row in rows for key in row} == {"time", "cpu"}


def test_a_reboot_leaves_what_was_saved(databases: Databases, tmp_path: Path) -> None:
    fill(databases)
    databases.save()
    after = Databases(tmp_path / "run-after-reboot", tmp_path / "kept")
    after.load()
    assert after.rows(GUEST, "100", "hour", "AVERAGE") == databases.rows(GUEST, "100", "hour", "AVERAGE")


def test_what_is_in_memory_counts_more_than_what_was_saved(databases: Databases) -> None:
    fill(databases)
    databases.save()
    now = int(time.time()) // 60 * 60 + 60
    databases.update(GUEST, "100", now, {"cpu": 1.0})
    before = databases.file(GUEST, "100").read_bytes()
    databases.load()
    assert databases.file(GUEST, "100").read_bytes() == before


def test_new_columns_are_added_and_the_past_is_kept(databases: Databases, tmp_path: Path) -> None:
    old = Schema(GUEST.name, ("maxcpu", "cpu"), ("netin",))
    for number, at in enumerate(minutes(10)[:-1]):
        databases.update(old, "100", at, {"cpu": 0.25, "netin": 60 * number})
    newer = Databases(tmp_path / "run", tmp_path / "kept")
    newer.update(GUEST, "100", minutes(0)[0], {"cpu": 0.25, "mem": 5, "netin": 600})
    rows = newer.rows(GUEST, "100", "hour", "AVERAGE")
    assert sum(row.get("cpu") == pytest.approx(0.25) for row in rows) >= 8


def test_a_file_that_is_no_database_is_made_anew(databases: Databases) -> None:
    file = databases.file(GUEST, "100")
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    with pytest.raises(KvorumError, match="can't be read"):
        databases.rows(GUEST, "100", "hour", "AVERAGE")
    fill(databases)
    assert any("cpu" in row for row in databases.rows(GUEST, "100", "hour", "AVERAGE"))


def test_a_clock_that_went_back_stops_nothing(databases: Databases) -> None:
    fill(databases)
    databases.update(GUEST, "100", minutes(5)[0], {"cpu": 1.0})
    assert any("cpu" in row for row in databases.rows(GUEST, "100", "hour", "AVERAGE"))


def test_a_database_that_vanished_from_memory_comes_back_from_disk(databases: Databases) -> None:
    fill(databases)
    databases.save()
    databases.file(GUEST, "100").unlink()
    at = minutes(0)[0]
    databases.update(GUEST, "100", at, {"cpu": 0.5})  # finds it gone
    databases.update(GUEST, "100", at + 60, {"cpu": 0.5})
    assert sum("cpu" in row for row in databases.rows(GUEST, "100", "hour", "AVERAGE")) >= 8


def test_a_guest_that_left_is_forgotten_in_memory_and_kept_on_disk_for_a_month(
    databases: Databases, tmp_path: Path
) -> None:
    fill(databases)
    databases.forget(GUEST, ["100"])
    assert databases.names(GUEST) == []
    saved = tmp_path / "kept" / GUEST.name / "100"
    assert saved.exists()
    os.utime(saved, (0, 0))
    databases.save()
    assert not saved.exists()


def test_no_history_is_no_rows(databases: Databases) -> None:
    assert databases.rows(GUEST, "999", "hour", "AVERAGE") == []


async def test_the_recorder_keeps_and_tells_node_guests_and_storages(tmp_path: Path) -> None:
    store = MemoryStore("n1")
    guest = GuestRecord(vmid=100, name="web", status="running", cpus=2, cpu=0.5, mem=7, maxmem=8)
    await store.publish(GUESTS, msgspec.msgpack.encode([guest]))
    local = StorageRecord(storage="local", plugintype="dir", available=True, disk=3, maxdisk=4)
    await store.publish(STORAGES, msgspec.msgpack.encode([local]))
    recorder = Recorder(store, Sampler(), Databases(tmp_path / "run", tmp_path / "kept"))
    await recorder.record()
    told = store.published("rrd")["n1"].decode().splitlines()
    assert [text.split(":")[0] for text in told] == [
        "pve-node-9.0/n1",
        "pve-vm-9.0/100",
        "pve-storage-9.0/n1/local",
    ]
    assert len(await recorder.rows(NODE, "n1", "hour", None)) == 70
    await store.publish(GUESTS, msgspec.msgpack.encode([GuestRecord(vmid=101, name="", status="stopped")]))
    await recorder.record()
    await recorder.close()
    assert (tmp_path / "kept" / "pve-vm-9.0" / "100").exists(), "saved when it left"
    assert not (tmp_path / "run" / "pve-vm-9.0" / "100").exists()
    assert (tmp_path / "kept" / "pve-vm-9.0" / "101").exists(), "saved at the end"


async def test_a_full_disk_stops_neither_the_recorder_nor_its_end(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    recorder = Recorder(MemoryStore("n1"), Sampler(), Databases(tmp_path / "run", tmp_path / "kept"))
    await recorder.record()
    await asyncio.wait_for(recorder.close(), 10)


def test_a_stopped_guest_uses_nothing_and_that_is_unknown() -> None:
    sample = guest_sample(GuestRecord(vmid=100, name="", status="stopped", maxmem=8))
    assert sample["cpu"] is None and sample["maxmem"] == 8
    assert line("s", "100", 5, sample, ("cpu", "maxmem")) == "s/100:5:U:8"


def test_pressure_is_read_where_the_kernel_tells_it(tmp_path: Path) -> None:
    (tmp_path / "io").write_text(
        "some avg10=1.50 avg60=0 avg300=0 total=1\nfull avg10=0.25 avg60=0 avg300=0 total=1\n"
    )
    (tmp_path / "cpu").write_text("some avg10=2.00 avg60=0 avg300=0 total=1\nfull avg10=9 avg60=0\n")
    assert pressure(tmp_path) == {"pressurecpusome": 2.0, "pressureiosome": 1.5, "pressureiofull": 0.25}


def test_rounds_that_cost_much_come_less_often_but_once_a_step() -> None:
    assert pause_s(0.002) == 10
    assert pause_s(0.25) == 25
    assert pause_s(9) == 60


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("timeframe", ["hour", "day", "week", "month", "year"])
def test_columns_are_drawn_for_every_timeframe(databases: Databases, timeframe: str) -> None:
    fill(databases)
    picture = databases.draw(GUEST, "100", timeframe, "AVERAGE", ["cpu", "netin"])
    assert picture is not None and picture.read_bytes().startswith(PNG)


def test_a_picture_shows_what_was_recorded(databases: Databases) -> None:
    fill(databases, "100")
    databases.update(GUEST, "101", minutes(0)[0], {})
    full, empty = (databases.draw(GUEST, name, "hour", "MAX", ["cpu"]) for name in ("100", "101"))
    assert full is not None and empty is not None and full.read_bytes() != empty.read_bytes()
    assert databases.draw(GUEST, "102", "hour", "MAX", ["cpu"]) is None, "there is no history of it"


def test_pictures_are_no_databases_and_old_ones_go(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvorum.node.history.databases._MOST_PICTURES", 2)
    for name in ("100", "101", "102"):
        fill(databases, name, 2)
        assert databases.draw(GUEST, name, "hour", "AVERAGE", ["cpu"]) is not None
    assert len(list(tmp_path.rglob("*.png"))) == 2
    databases.save()
    assert not list((tmp_path / "kept").rglob("*.png"))
    assert databases.names(GUEST) == ["100", "101", "102"]
