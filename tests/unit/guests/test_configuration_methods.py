"""What a change of drives does to the volumes that are not in use."""

from __future__ import annotations

from kvorum.guests.config import GuestConfig
from kvorum.guests.config.drives import kept_volumes, taken_up

CONFIG = GuestConfig.parse(
    100, "scsi0: local:100/a.qcow2,size=1G\nunused0: local:100/b.qcow2\nunused1: local:100/c.qcow2\n"
)


def test_a_volume_that_becomes_a_drive_is_unused_no_longer() -> None:
    assert taken_up(CONFIG.settings, {"virtio0": "local:100/b.qcow2,size=2G"}) == {"unused0"}
    assert taken_up(CONFIG.settings, {"name": "web"}) == frozenset()


def test_a_drive_that_is_taken_away_is_kept_as_unused() -> None:
    assert kept_volumes(CONFIG.settings, frozenset({"scsi0"}), {}) == {"unused2": "local:100/a.qcow2"}


def test_a_drive_that_moves_to_another_bus_is_not_unused() -> None:
    assert kept_volumes(CONFIG.settings, frozenset({"scsi0"}), {"virtio0": "local:100/a.qcow2"}) == {}
