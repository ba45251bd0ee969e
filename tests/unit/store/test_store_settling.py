"""How long the QDevice's vote must be held, from corosync.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvorum.store.settling import settle_seconds

NODE = "  node {{\n    name: n{0}\n    nodeid: {0}\n    ring0_addr: 10.0.0.{0}\n  }}\n"


def config(path: Path, nodes: int, totem: str, device: str) -> Path:
    listed = "".join(NODE.format(number + 1) for number in range(nodes))
    path.write_text(
        f"totem {{\n  version: 2\n  cluster_name: c\n{totem}}}\nnodelist {{\n{listed}}}\n"
        f"quorum {{\n  provider: corosync_votequorum\n{device}}}\n"
    )
    return path


@pytest.mark.parametrize(
    ("nodes", "totem", "device", "seconds"),
    [
        (2, "  token: 1000\n", "  device {\n    model: net\n    timeout: 3000\n    sync_timeout: 5000\n"
         "    net {\n      host: q\n    }\n  }\n", 8 + 1 + 1.2 + 2),
        (4, "  token: 1000\n  token_coefficient: 125\n  consensus: 2000\n", "  device {\n    model: net\n"
         "    net {\n      host: q\n    }\n  }\n", 40 + 1.25 + 2 + 2),
        (2, "", "", 40 + 3 + 3.6 + 2),
    ],
)  # fmt: skip
def test_it_is_the_sum_of_what_the_configuration_allows(
    tmp_path: Path, nodes: int, totem: str, device: str, seconds: float
) -> None:
    assert settle_seconds(config(tmp_path / "c", nodes, totem, device)) == pytest.approx(seconds)


def test_ffsplits_vote_for_the_ring_of_now_counts_when_qnetd_would_have_given_a_silent_node_up(
    tmp_path: Path,
) -> None:
    def seconds(algorithm: str, said: bool) -> float:
        net = f"    net {{\n      host: q\n{algorithm}    }}\n"
        device = f"  device {{\n    model: net\n    timeout: 3000\n    sync_timeout: 5000\n{net}  }}\n"
        return settle_seconds(config(tmp_path / "c", 2, "  token: 1000\n", device), said)

    assert seconds("      algorithm: ffsplit\n", True) == pytest.approx(3.6)
    for algorithm, said in (("ffsplit", False), ("lms", True), ("", True)):
        line = f"      algorithm: {algorithm}\n" if algorithm else ""
        assert seconds(line, said) == pytest.approx(12.2), f"{algorithm}, {said}"


def test_without_a_configuration_it_is_the_longest(tmp_path: Path) -> None:
    assert settle_seconds(tmp_path / "missing") > 40
    assert settle_seconds(tmp_path / "missing", True) > 40
