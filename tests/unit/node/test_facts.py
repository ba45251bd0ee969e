"""What the kernel says of this node."""

from __future__ import annotations

import pytest

from kvorum.node import facts, record


def test_cpu_use_is_the_share_of_busy_time_between_two_counts() -> None:
    assert facts.cpu_fraction((10.0, 100.0), (15.0, 110.0)) == pytest.approx(0.5)


def test_no_time_between_two_counts_is_no_use() -> None:
    assert facts.cpu_fraction((10.0, 100.0), (10.0, 100.0)) == 0.0


def test_counts_that_go_back_stay_within_bounds() -> None:
    assert facts.cpu_fraction((10.0, 100.0), (9.0, 101.0)) == 0.0


def test_a_sample_of_this_machine_is_plausible_and_survives_publishing() -> None:
    sample = facts.Sampler().sample()
    assert sample.maxcpu >= 1
    assert 0 < sample.mem < sample.maxmem
    assert 0 < sample.disk < sample.maxdisk
    assert record.decode(record.encode(sample)) == sample


def test_a_record_of_another_version_is_ignored() -> None:
    assert record.decode(b"\x93\x01\x02\x03") is None


def test_the_status_adds_up() -> None:
    status = facts.status(facts.Sampler().record)
    rootfs = status["rootfs"]
    assert isinstance(rootfs, dict)
    assert rootfs["used"] + rootfs["free"] == rootfs["total"]
