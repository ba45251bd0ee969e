"""What waits for a guest's next start: written, read, dropped, taken into effect."""

from __future__ import annotations

import pytest

from kvorum.guests.change import Wish, promoted, reverted, settled, staged
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.pending import rows
from kvorum.guests.errors import GuestConfigError

BASE = "#notes\ncores: 1\nmemory: 512\nname: web\nscsi0: local:100/vm-100-disk-0.qcow2,size=1G\n"
TREE = "\n[before]\ncores: 1\nsnaptime: 1\n"


def parse(text: str) -> GuestConfig:
    return GuestConfig.parse(100, text)


def text(config: GuestConfig) -> str:
    return config.document.render()


def test_what_waits_stands_in_its_section_before_the_snapshots() -> None:
    config = staged(parse(BASE + TREE), Wish({"cores": "2"}, frozenset({"memory"})))
    assert text(config) == BASE + "\n[PENDING]\ndelete: memory\ncores: 2\n" + TREE
    assert config.cores == 1, "the running guest is as before"


def test_what_qemu_need_not_know_changes_at_once() -> None:
    config = staged(parse(BASE), Wish({"name": "db", "cores": "2"}))
    assert (config.name, config.pending.changes) == ("db", {"cores": "2"})


def test_a_setting_that_is_set_back_waits_no_longer() -> None:
    waiting = staged(parse(BASE), Wish({"cores": "2"}))
    assert text(staged(waiting, Wish({"cores": "1"}))) == BASE


def test_the_last_word_on_a_setting_counts() -> None:
    config = staged(parse(BASE), Wish({"memory": "1024"}))
    config = staged(config, Wish({}, frozenset({"memory"})))
    assert (dict(config.pending.changes), dict(config.pending.delete)) == ({}, {"memory": False})
    config = staged(config, Wish({"memory": "2048"}))
    assert (dict(config.pending.changes), dict(config.pending.delete)) == ({"memory": "2048"}, {})


def test_the_start_takes_everything_into_effect() -> None:
    config = staged(parse(BASE + TREE), Wish({"cores": "2"}, frozenset({"memory"})))
    assert text(config.applied()) == BASE.replace("cores: 1", "cores: 2").replace("memory: 512\n", "") + TREE


def test_a_stopped_guest_has_nothing_waiting_after_a_change() -> None:
    config = settled(parse(BASE + "\n[PENDING]\ncores: 4\n"), Wish({"memory": "1024"}))
    assert (config.cores, config.memory_mib, bool(config.pending)) == (4, 1024, False)


def test_a_drive_that_goes_is_kept_as_unused_once_it_is_gone() -> None:
    waiting = staged(parse(BASE), Wish({}, frozenset({"scsi0"})))
    assert "scsi0" in waiting.settings
    assert waiting.applied().settings["unused0"] == "local:100/vm-100-disk-0.qcow2"
    assert "unused0" in promoted(waiting, "scsi0").settings


def test_a_drive_that_is_to_be_destroyed_is_not_kept_by_a_stopped_guest() -> None:
    config = settled(parse(BASE), Wish({}, frozenset({"scsi0"}), destroy=True))
    assert "vm-100-disk-0" not in text(config)


def test_a_running_guest_remembers_that_a_drive_is_to_be_destroyed() -> None:
    config = staged(parse(BASE), Wish({}, frozenset({"scsi0"}), destroy=True))
    assert "delete: !scsi0" in text(config)
    assert "vm-100-disk-0" not in text(promoted(config, "scsi0"))


def test_a_volume_made_for_a_change_that_is_dropped_becomes_unused() -> None:
    waiting = staged(parse(BASE), Wish({"sata0": "local:100/vm-100-disk-1.qcow2,size=1G"}))
    dropped = reverted(waiting, {"sata0"})
    assert not dropped.pending
    assert dropped.settings["unused0"] == "local:100/vm-100-disk-1.qcow2"


def test_an_unused_volume_is_listed_once_when_a_drive_that_waits_for_it_is_dropped() -> None:
    start = parse(BASE + "unused0: local:100/vm-100-disk-1.qcow2\n")
    waiting = staged(start, Wish({"sata0": "local:100/vm-100-disk-1.qcow2,size=1G"}))
    assert text(reverted(waiting, {"sata0"})) == text(start)
    assert "unused0" not in waiting.applied().settings


def test_each_row_has_its_value_now_and_the_one_that_waits() -> None:
    config = staged(parse(BASE), Wish({"cores": "2", "sockets": "2"}, frozenset({"memory"})))
    shown = {row["key"]: row for row in rows(config.settings, config.pending)}
    assert shown["cores"] == {"key": "cores", "value": "1", "pending": "2"}
    assert shown["sockets"] == {"key": "sockets", "pending": "2"}
    assert shown["memory"] == {"key": "memory", "value": "512", "delete": 1}
    assert shown["name"] == {"key": "name", "value": "web"}


def test_what_waits_is_checked_as_the_rest_is() -> None:
    with pytest.raises(GuestConfigError, match="line 3: key 'cores'"):
        parse("cores: 1\n[PENDING]\ncores: many\n")


WAITING = "local:100/vm-100-disk-1.raw,size=1G"
ANEW = "local:100/vm-100-disk-2.raw,size=1G"


def test_a_disk_that_waits_and_is_asked_for_anew_leaves_its_first_volume_unused() -> None:
    """A second ``qm set --sata0 local:4`` makes a second volume: the first stood nowhere then."""
    waiting = staged(parse(BASE), Wish({"sata0": WAITING}))
    config = staged(waiting, Wish({"sata0": ANEW}))
    assert (config.pending.changes["sata0"], config.settings["unused0"]) == (ANEW, WAITING.partition(",")[0])
    assert "unused0" not in staged(waiting, Wish({"sata0": f"{WAITING},ssd=1"})).settings


def test_a_disk_that_waits_and_is_deleted_leaves_its_volume_unused() -> None:
    waiting = staged(parse(BASE), Wish({"sata0": WAITING}))
    config = staged(waiting, Wish({}, frozenset({"sata0"})))
    assert (bool(config.pending), config.settings["unused0"]) == (False, WAITING.partition(",")[0])


def test_a_disk_that_waited_and_is_asked_for_anew_once_the_guest_is_off_is_kept_too() -> None:
    waiting = staged(parse(BASE), Wish({"sata0": WAITING}))
    config = settled(waiting, Wish({"sata0": ANEW}))
    assert (config.settings["sata0"], config.settings["unused0"]) == (ANEW, WAITING.partition(",")[0])
    config = settled(waiting, Wish({"cores": "2"}))
    assert config.settings["sata0"] == WAITING and "unused0" not in config.settings
