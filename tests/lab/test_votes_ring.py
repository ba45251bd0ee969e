"""Votes on real corosync and a real /etc/pve: edits refused, taken, and taken back; the table of W14."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from corosync_ring import corosync_ring, unavailable
from followed_ring import Followed, followed_ring

from kvorum.cluster.status import explain_view, look
from kvorum.corosync import Cfg, Configuration

pytestmark = [
    pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Followed]:
    with followed_ring(tmp_path, 2) as it:
        yield it


def local(it: Followed, number: int) -> Configuration:
    return Configuration.read((it.ring.nodes[number].directory / "etc" / "corosync.conf").read_text())


def test_an_edit_is_refused_or_in_force_on_all_nodes_and_who_was_off_is_thrown_out(two: Followed) -> None:
    refused = two.edit(1, "n1", 2, grow=0)
    assert refused.returncode != 0 and "Invalid argument" in refused.stderr
    assert "config_version is 1" in two.says(1, "note")
    begun = time.monotonic()
    taken = two.edit(1, "n1", 2)
    assert taken.returncode == 0, taken.stderr
    two.follows([1, 2], 2, timeout_s=5)
    print(f"in force after {time.monotonic() - begun:.2f} s")
    with two.ring.inside(2):
        view = look()
    assert (view.local.total, view.local.quorum) == (3, 2)

    two.kill(2)
    two.ring.wait_members(1, [1])
    taken = two.edit(1, "n1", 3)
    assert taken.returncode == 0, taken.stderr
    two.follows([1], 3)
    two.ring.start(2)
    process = two.ring.nodes[2].process
    assert process is not None
    process.wait(30)  # thrown out: "Received config version (3) is different than my config version (2)!"
    assert local(two, 2).config_version == 2


def test_a_version_that_costs_quorum_is_taken_back(two: Followed) -> None:
    assert two.edit(1, "n1", 2).returncode == 0
    two.follows([1, 2], 2)
    assert two.edit(2, "n1", 1).returncode == 0
    two.follows([1, 2], 3)
    two.kill(2)  # while the version is on trial
    two.ring.wait_members(1, [1])
    two.follows([1], 4, timeout_s=40)
    assert [node.votes for node in local(two, 1).nodes] == [2, 1]
    with two.ring.inside(1):
        assert look().local.quorate
    two.says(1, "note version 3 of corosync.conf was taken back")


def test_the_quorum_table_is_votequorums_own() -> None:
    """W14: one cluster that grows from 2 to 6 nodes; each node joins a corosync that lists it already."""
    with corosync_ring(6, start=False) as ring:
        every = dict(ring.nodes)
        for count, quorum in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)):
            ring.nodes = {n: every[n] for n in range(1, count + 1)}
            ring.config_version = count
            ring.write_config()
            if count > 1:
                with ring.inside(1), Cfg() as cfg:
                    cfg.reload()
            ring.start(count)
            ring.wait_members(count, list(ring.nodes))
            for number in (1, count):
                with ring.inside(number):
                    view = look()
                assert (view.local.total, view.local.quorum) == (count, quorum)
                told = explain_view(view)
                assert (told.total, told.needed, told.may_fail) == (count, quorum, count - quorum)
        ring.nodes = every
