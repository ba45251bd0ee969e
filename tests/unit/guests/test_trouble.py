"""A guest that QEMU has stand still, since a disk's storage is full, says which disk it is and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from kvorum.guests.config import GuestConfig
from kvorum.guests.machine import trouble

CONFIG = GuestConfig.parse(100, "scsi0: one:100/vm-100-disk-0.qcow2\nscsi1: one:100/vm-100-disk-1.raw\n")
FULL = "no room at scsi1 ('one:100/vm-100-disk-1.raw'); make room on its storage, then qm resume 100"


@pytest.mark.parametrize(
    "data",
    [
        {"node-name": "drive-scsi1", "qom-path": ""},
        {"node-name": "drive-scsi1-moved", "qom-path": ""},
        {"node-name": "mirror-scsi1", "qom-path": "/machine/peripheral/scsi1"},
        {"node-name": "", "qom-path": "/machine/peripheral/scsi1/virtio-backend"},
    ],
)
def test_the_disk_is_known_by_its_node_or_its_device(data: dict[str, Any]) -> None:
    event = {**data, "operation": "write", "action": "stop", "nospace": True, "reason": "No space left"}
    assert trouble.told(CONFIG, event) == FULL


def test_another_failure_is_told_with_its_reason() -> None:
    event = {
        "node-name": "drive-scsi0",
        "operation": "read",
        "nospace": False,
        "reason": "Input/output error",
    }
    assert trouble.told(CONFIG, event).startswith(
        "read failed: Input/output error at scsi0 ('one:100/vm-100-disk-0.qcow2'); look at"
    )


def test_a_guest_that_stood_still_before_the_daemon_began_is_asked_by_its_devices() -> None:
    devices = [
        {"qdev": "scsi0", "io-status": "ok", "inserted": {"node-name": "drive-scsi0"}},
        {"qdev": "scsi1", "io-status": "nospace", "inserted": {"node-name": "drive-scsi1"}},
    ]
    assert trouble.found(CONFIG, devices) == FULL
    assert trouble.found(CONFIG, []).startswith("an access failed at one of its disks")
