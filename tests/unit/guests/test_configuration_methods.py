"""What a change of drives does to the volumes that are not in use."""

from __future__ import annotations

import pytest

from kvorum.core.errors import ParameterError
from kvorum.guests.config import GuestConfig
from kvorum.guests.config.drives import kept_volumes, taken_up
from kvorum.guests.disks import generated

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


def test_cdrom_is_another_word_for_ide2() -> None:
    assert generated(100, {"cdrom": "none"}) == {"ide2": "none,media=cdrom"}
    assert generated(100, {"cdrom": "local:iso/a.iso"}) == {"ide2": "local:iso/a.iso,media=cdrom"}
    with pytest.raises(ParameterError, match="leave one out"):
        generated(100, {"cdrom": "none", "ide2": "none,media=cdrom"})
