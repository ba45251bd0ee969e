"""Which files are written past the page cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.storage import images
from kvorum.storage.direct_io import takes_direct_io


def test_whole_blocks_of_a_file_system_that_can(tmp_path: Path) -> None:
    whole, odd = tmp_path / "whole", tmp_path / "odd"
    whole.write_bytes(bytes(8192))
    odd.write_bytes(bytes(8192 + 512))
    assert takes_direct_io(whole, "raw") and takes_direct_io(odd, "qcow2")
    assert not takes_direct_io(odd, "raw")


def test_not_what_is_missing_or_no_file_of_a_disk(tmp_path: Path) -> None:
    assert not takes_direct_io(tmp_path / "nothing", "qcow2")
    assert not takes_direct_io(Path("/proc/self/status"), "qcow2")


@pytest.mark.parametrize(("able", "expected"), [(True, True), (False, False)])
async def test_a_copy_goes_past_the_cache_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, able: bool, expected: bool
) -> None:
    source, target = tmp_path / "source.raw", tmp_path / "target.raw"
    source.write_bytes(b"\x07" * (1 << 20))
    target.write_bytes(bytes(1 << 20))
    monkeypatch.setattr(images, "takes_direct_io", lambda path, format: able and path == target)
    asked: list[str] = []
    process = images._process
    monkeypatch.setattr(
        images, "_process", lambda arguments: (asked.extend(arguments), process(arguments))[1]
    )
    await images.convert(source, "raw", ("-n", "-O", "raw", str(target)))
    assert (" ".join(asked).count("-t none") == 1) is expected
    assert target.read_bytes() == source.read_bytes()
