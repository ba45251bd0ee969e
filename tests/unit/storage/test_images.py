"""What is told of qemu-img's failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.storage import images
from kvorum.storage.errors import StorageError

IN_TWO_PIECES = """#!/bin/sh
printf 'qemu-img: ' >&2
echo '(50.00/100%)'
sleep 0.3
echo 'error while writing at byte 0: No space left on device' >&2
exit 1
"""


async def test_a_failure_is_told_whole_however_many_writes_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "qemu-img"
    tool.write_text(IN_TWO_PIECES)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(StorageError, match="No space left on device"):
        await images.convert(tmp_path / "source", "raw", ("-O", "raw", str(tmp_path / "target")))
