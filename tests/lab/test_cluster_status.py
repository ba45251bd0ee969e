"""``pvecm status`` beside Corosync's own tool, and votes that follow the configuration, on real corosync."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.cluster.change import cluster_on
from kvorum.cluster.service import CorosyncConfiguration
from kvorum.cluster.status import explain_view, look, nodes_block, status_block
from kvorum.core.paths import Paths
from kvorum.corosync import Configuration
from kvorum.store.memory import MemoryStore


def _load(name: str) -> object:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rings = sys.modules.get("corosync_ring") or _load("corosync_ring")
pytestmark = pytest.mark.skipif(bool(rings.unavailable()), reason=rings.unavailable())


@pytest.fixture
def ring() -> Iterator[object]:
    with rings.corosync_ring(3) as made:
        yield made


def ours(ring: object, number: int) -> str:
    with ring.inside(number):
        text = status_block(look(), time.time())
    return text[text.index("Quorum information") :]


def theirs(ring: object, number: int) -> str:
    """Corosync's own tool; it exits with 2 (quorate) or 1, and prints all the same."""
    return ring.run(number, "sh", "-c", "corosync-quorumtool -siH || true")


def undated(text: str) -> str:
    return re.sub(r"(?m)^Date:  .*$", "Date:", text)


def test_status_is_to_the_letter_what_corosync_prints(ring: object) -> None:
    assert undated(ours(ring, 2)) == undated(theirs(ring, 2))
    ring.kill(3)
    ring.wait_members(2, [1, 2])
    assert undated(ours(ring, 2)) == undated(theirs(ring, 2))
    ring.kill(1)
    ring.wait_members(2, [2])
    alone = ours(ring, 2)
    assert undated(alone) == undated(theirs(ring, 2))
    assert "Activity blocked" in alone
    with ring.inside(2):
        view = look()
    assert explain_view(view).sentence.endswith("Start n1 or n3 to go on.")
    assert nodes_block(view).endswith("         2          1 n2 (local)\n")


async def test_new_votes_in_the_store_reach_every_corosync(ring: object, tmp_path: Path) -> None:
    """W18: one node gets two votes; each node's own follower writes its file and reloads."""
    new = Configuration.read(ring.config().replace("quorum_votes: 1", "quorum_votes: 2", 1)).bumped()
    for number, node in ring.nodes.items():
        paths = Paths.under(tmp_path / node.name)
        paths.corosync.parent.mkdir(parents=True)
        paths.corosync.symlink_to(node.directory / "etc")
        store = MemoryStore(node.name)
        await store.write("corosync.conf", new.text)
        follower = CorosyncConfiguration(store, cluster_on(store, paths).host)
        with ring.inside(number):
            assert follower.apply()
    async with asyncio.timeout(20):
        while True:
            with ring.inside(3):
                view = look()
            if view.config_version == "2" and view.local.total == 4:
                break
            await asyncio.sleep(0.05)
    assert view.local.quorum == 3
    with ring.inside(1):
        assert "Any 1 more" not in explain_view(look()).sentence
