"""The quorum device in corosync.conf."""

from pathlib import Path

import pytest

from kvorum.cluster.qdevice.device import (
    Device,
    advice,
    algorithm_of,
    check_setup,
    misfit,
    suitable,
    with_device,
    without_device,
)
from kvorum.cluster.qdevice.local import cannot_run
from kvorum.core.errors import Conflict
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster


def cluster(count: int, votes: int = 1) -> Configuration:
    made = new_cluster("home", ConfiguredNode("n1", 1, votes, {0: "10.0.0.1"}))
    for number in range(2, count + 1):
        made = made.with_node(ConfiguredNode(f"n{number}", number, 1, {0: f"10.0.0.{number}"}))
    return made


@pytest.mark.parametrize(
    ("count", "algorithm", "votes", "total", "quorum"),
    [(2, "ffsplit", 1, 3, 2), (3, "lms", 2, 5, 3), (4, "ffsplit", 1, 5, 3), (5, "lms", 4, 9, 5)],
)
def test_an_even_count_gets_ffsplit_and_an_odd_one_lms(
    count: int, algorithm: str, votes: int, total: int, quorum: int
) -> None:
    configuration = cluster(count)
    chosen, device_votes = suitable(configuration)
    assert (chosen, device_votes) == (algorithm, votes)
    made = with_device(configuration, Device("10.0.0.9", chosen, device_votes))
    assert made.config_version == configuration.config_version + 1
    assert made.total_votes == total and made.quorum == quorum
    assert Configuration.read(made.text).device == made.device
    assert algorithm_of(made) == algorithm


def test_a_device_takes_the_place_of_another_and_leaves_nothing_behind() -> None:
    first = with_device(cluster(2), Device("10.0.0.8", "ffsplit", 1, "/bin/ping -c1 10.0.0.254"))
    assert "exec_kvorum: /bin/ping -c1 10.0.0.254" in first.text and "mode: on" in first.text
    second = with_device(first, Device("10.0.0.9", "ffsplit", 1))
    assert second.device is not None and second.device.host == "10.0.0.9"
    assert second.text.count("device {") == 1 and "heuristics" not in second.text
    left = without_device(second)
    assert left.device is None and left.config_version == second.config_version + 1
    assert left.text.replace("config_version: 4", "config_version: 1") == cluster(2).text
    assert without_device(left) is left


def test_heuristics_may_be_run_at_changes_only() -> None:
    text = with_device(cluster(2), Device("10.0.0.9", "ffsplit", 1, "/bin/true", "sync")).text
    assert "exec_kvorum: /bin/true" in text and "mode: sync" in text


def test_a_command_that_a_node_can_not_run_is_said(tmp_path: Path) -> None:
    script = tmp_path / "reach"
    assert cannot_run("") == cannot_run("/bin/sh -c true") == ""
    assert cannot_run(f"{script} 10.0.0.254") == f"'{script}' does not exist"
    script.write_text("#!/bin/sh\n")
    assert cannot_run(f"{script} 10.0.0.254") == f"'{script}' is not executable"
    script.chmod(0o755)
    assert cannot_run(f"{script} 10.0.0.254") == ""


def test_the_timeouts_fit_together() -> None:
    """QNetd gives a silent node up after 1.5 heartbeats of 0.8 timeouts: Corosync must wait so long."""
    text = with_device(cluster(2), Device("10.0.0.9", "ffsplit", 1)).text
    assert "timeout: 3000" in text and "sync_timeout: 5000" in text
    assert 1.5 * 0.8 * 3000 < 5000


@pytest.mark.parametrize(
    ("address", "online", "force", "sentence"),
    [
        ("10.0.0.2", ["n1", "n2"], True, "10.0.0.2 is node 'n2' of this cluster"),
        ("n1", ["n1", "n2"], False, "n1 is node 'n1' of this cluster"),
        ("10.0.0.9", ["n1"], False, "n2 can't be prepared while away"),
    ],
)
def test_what_stands_against_a_setup_is_a_sentence(
    address: str, online: list[str], force: bool, sentence: str
) -> None:
    with pytest.raises(Conflict, match=sentence):
        check_setup(cluster(2), address, online, force=force)


def test_what_is_only_doubtful_is_a_warning_with_force() -> None:
    there = with_device(cluster(2), Device("10.0.0.8", "ffsplit", 1))
    with pytest.raises(Conflict, match=r"has a QDevice already, at 10\.0\.0\.8"):
        check_setup(there, "10.0.0.9", ["n1", "n2"], force=False)
    assert len(check_setup(there, "10.0.0.9", ["n1"], force=True)) == 2
    assert check_setup(cluster(2), "10.0.0.9", ["n1", "n2"], force=False) == []


def test_an_odd_count_and_unequal_votes_are_warned_about() -> None:
    assert advice(cluster(2), "ffsplit") == []
    assert "one node may go on alone" in advice(cluster(3), "lms")[0]
    assert "3 nodes are an odd count" in advice(cluster(3), "ffsplit")[0]
    assert "different votes" in advice(cluster(2, votes=2), "ffsplit")[0]


def test_a_device_that_no_longer_suits_the_nodes_is_said() -> None:
    assert misfit(cluster(2)) == ""
    two = with_device(cluster(2), Device("10.0.0.9", "ffsplit", 1))
    assert misfit(two) == ""
    three = two.with_node(ConfiguredNode("n3", 3, 1, {0: "10.0.0.3"}))
    assert "does not suit 3 nodes: set it up anew (pvecm qdevice setup 10.0.0.9 --force)" in misfit(three)
