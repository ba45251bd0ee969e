"""What is counted of a running guest."""

from __future__ import annotations

from pathlib import Path

from kvorum.guests.statistics import ProcessUsage, Traffic, cpu_share, traffic


def tap(net: Path, name: str, rx: str, tx: str) -> None:
    counters = net / name / "statistics"
    counters.mkdir(parents=True)
    (counters / "rx_bytes").write_text(rx)
    (counters / "tx_bytes").write_text(tx)


def test_what_the_host_receives_on_a_tap_its_guest_has_sent(tmp_path: Path) -> None:
    tap(tmp_path, "tap100i0", "7\n", "1000\n")
    tap(tmp_path, "tap100i1", "1\n", "200\n")
    tap(tmp_path, "tap1001i0", "5\n", "5\n")
    assert traffic(["tap100i0", "tap100i1"], tmp_path) == Traffic(received=1200, sent=8)


def test_a_card_whose_tap_is_gone_counts_nothing(tmp_path: Path) -> None:
    tap(tmp_path, "tap100i1", "1\n", "2\n")
    assert traffic(["tap100i0", "tap100i1"], tmp_path) == Traffic(received=2, sent=1)


def test_a_share_is_of_the_guests_own_cpus_and_never_above_all_of_them() -> None:
    before, now = ProcessUsage(10.0, 0, 0, 0, 100.0), ProcessUsage(12.0, 0, 0, 0, 102.0)
    assert cpu_share(before, now, 2) == 0.5
    assert cpu_share(before, ProcessUsage(99.0, 0, 0, 0, 102.0), 2) == 1.0
    assert cpu_share(None, now, 2) == 0.0
    assert cpu_share(now, before, 2) == 0.0, "another process under the same id"
