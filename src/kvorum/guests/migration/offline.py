"""Disks that no QEMU has open here: a stopped guest's, and unused volumes.

They are copied by qemu-img to the target's NBD exports under the migration's TLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kvorum.core.ids import VolumeId
from kvorum.guests.machine.disks import node_name
from kvorum.guests.migration.request import Answer, Request
from kvorum.interface import TaskLog
from kvorum.storage import Storages, convert


async def copy_disks(
    request: Request,
    keys: Sequence[str],
    answer: Answer,
    storages: Storages,
    key_folder: Path,
    log: TaskLog,
    rate_kib_s: int,
) -> None:
    """Copy these disks; raises ``StorageError``. Cancelling ends the copy."""
    credentials = f"tls-creds-psk,id=tls,endpoint=client,dir={key_folder},username=qemu"
    for disk in request.disks:
        if disk.key not in keys:
            continue
        volume = VolumeId.parse(disk.volid)
        kind = storages.of(volume)
        target = (
            f"driver=nbd,server.type=inet,server.host={answer.address},server.port={answer.disk_port},"
            f"export={node_name(disk.key)},tls-creds=tls"
        )
        log.line(f"copying {disk.key} '{volume}'")
        async with kind.reading(volume) as read:
            await convert(
                read.path,
                read.format,
                ("-n", "--target-image-opts", target),
                objects=(credentials,),
                rate_bytes_s=rate_kib_s * 1024,
                progress=log.progress,
            )
