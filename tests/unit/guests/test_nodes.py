"""Which block node a disk is on, from what QEMU says."""

from __future__ import annotations

from typing import Any

import pytest

from kvorum.guests.errors import GuestError
from kvorum.guests.machine import nodes


class Qemu:
    """Answers as QEMU 10 was seen to."""

    async def execute(self, command: str) -> Any:
        assert command == "query-block"
        found = {
            "/machine/system.flash0": ("pflash0", "code"),
            "/machine/system.flash1": ("drive-efidisk0", "variables"),
            "/machine/peripheral/virtio1/virtio-backend": ("drive-virtio1-moved", "data"),
            "scsi0": ("drive-scsi0", "system"),
        }
        full = [{"qdev": q, "inserted": {"node-name": n, "file": f}} for q, (n, f) in found.items()]
        return [*full, {"qdev": "ide2"}]


@pytest.mark.parametrize(
    ("key", "node"),
    [("efidisk0", "drive-efidisk0"), ("virtio1", "drive-virtio1-moved"), ("scsi0", "drive-scsi0")],
)
async def test_a_disk_is_found_on_whatever_device_it_is(key: str, node: str) -> None:
    assert await nodes.current(Qemu(), key) == node  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["ide2", "virtio10", "tpmstate0"])
async def test_what_qemu_does_not_have_is_said(key: str) -> None:
    with pytest.raises(GuestError, match=f"no disk '{key}'"):
        await nodes.current(Qemu(), key)  # type: ignore[arg-type]
