"""Real guests cloned while they run, from templates, to other nodes; each clone goes on by itself."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from lab_cluster import SHARED
from test_migration import GUEST_OS, boot, qmp_status, wait_count

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

pytestmark = pytest.mark.timeout(300)
_NEW = itertools.count(8400)


@pytest.fixture
def clone(cluster: Cluster) -> Iterator[Callable[..., int]]:
    """Clones a guest of n1; the clones are gone after the test."""
    made: list[int] = []

    def clone(vmid: int, *options: str) -> int:
        made.append(next(_NEW))
        cluster.say("n1", "qm", "clone", str(vmid), str(made[-1]), *options)
        return made[-1]

    yield clone
    for vmid in made:
        cluster.remove(vmid)


def settings(cluster: Cluster, node: str, vmid: int) -> dict[str, str]:
    lines = cluster.say(node, "qm", "config", str(vmid)).splitlines()
    return dict(line.split(": ", 1) for line in lines)


def started(cluster: Cluster, node: str, vmid: int) -> int:
    """Start a guest; the first number that it says."""
    cluster.say(node, "qm", "start", str(vmid))
    return wait_count(cluster, node, vmid)


def test_a_running_guest_is_copied_and_goes_on_and_a_stopped_copy_leaves_nothing(
    cluster: Cluster, guest: Maker, clone: Callable[..., int]
) -> None:
    vmid = guest("n1", *GUEST_OS, "--smbios1", "uuid=11111111-1111-1111-1111-111111111111")
    boot(cluster, vmid)
    pid, before = cluster.pid("n1", vmid), wait_count(cluster, "n1", vmid)
    copy = clone(vmid, "--name", "copy", "--storage", "local", "--format", "raw")
    assert cluster.pid("n1", vmid) == pid and qmp_status(cluster, "n1", vmid) == "running"
    assert wait_count(cluster, "n1", vmid) > before
    old, new = settings(cluster, "n1", vmid), settings(cluster, "n1", copy)
    assert new["name"] == "copy" and "lock" not in new
    assert new["virtio0"].startswith(f"local:{copy}/vm-{copy}-disk-0.raw")
    for key in ("net0", "smbios1", "vmgenid"):
        assert old[key] != new[key]
    assert started(cluster, "n1", copy) > 0
    assert wait_count(cluster, "n1", vmid) > before, "both run"

    number = str(next(_NEW))
    command = ("qm", "clone", str(vmid), number, "--storage", "local", "--bwlimit", "512")
    with cluster.following("n1", *command) as copying:
        copying.until("disks: transferred")
        listed = cluster.say(
            "n1", "pvesh", "get", "/nodes/n1/tasks", "--source", "active", "--output-format", "json"
        )
        upid = re.search(r"UPID:[^\"]*:qmclone:[^\"]*", listed)
        assert upid
        cluster.say("n1", "pvesh", "delete", f"/nodes/n1/tasks/{upid[0]}")
        assert copying.end() != 0
    assert cluster.owner(int(number)) == [] and cluster.traces("n1", int(number)) == []
    assert qmp_status(cluster, "n1", vmid) == "running"
    assert wait_count(cluster, "n1", vmid) > before


def test_clones_rest_on_a_template_on_all_nodes_and_hold_it(
    cluster: Cluster, guest: Maker, clone: Callable[..., int]
) -> None:
    vmid = guest("n1", *GUEST_OS)
    boot(cluster, vmid)
    number = str(vmid)
    assert "stop VM" in cluster.fails("n1", "qm", "template", number)
    cluster.say("n1", "qm", "stop", number)
    cluster.say("n1", "qm", "template", number)
    assert "is a template" in cluster.fails("n1", "qm", "start", number)
    base = f"{SHARED}:{vmid}/base-{vmid}-disk-0.qcow2"
    assert settings(cluster, "n1", vmid)["virtio0"].startswith(base)

    here, there = clone(vmid), clone(vmid, "--target", "n2")
    assert cluster.owner(there) == ["n2"]
    assert settings(cluster, "n1", here)["virtio0"].startswith(f"{base}/{here}/vm-{here}-disk-0.qcow2")
    asked = ("--vmid", str(here), "--output-format", "json")
    listed = json.loads(cluster.say("n1", "pvesh", "get", f"/nodes/n1/storage/{SHARED}/content", *asked))
    assert [row.get("parent") for row in listed] == [base]
    assert started(cluster, "n1", here) > 0 and started(cluster, "n2", there) > 0
    cluster.say("n1", "qm", "migrate", str(here), "n2", "--online", "1")
    assert wait_count(cluster, "n2", here) > 0
    assert "rests on" in cluster.fails("n1", "qm", "destroy", number)

    whole = clone(vmid, "--full", "1", "--storage", "local")
    assert settings(cluster, "n1", whole)["virtio0"].startswith(f"local:{whole}/vm-{whole}-disk-0.qcow2")
    for copy in (here, there):
        cluster.remove(copy)
    cluster.say("n1", "qm", "destroy", number)
    cluster.until("n1", f"! ls -d /mnt/shared/images/{vmid} 2>/dev/null")
    assert started(cluster, "n1", whole) > 0
