"""A power cut takes nothing that was acknowledged, and the lab would show it if it did."""

import pytest

from kvorum.lab.plan import Plan

WRITE = """
import os, sys
for number in range(20):
    with open(f'/etc/pve/nodes/n1/probe-{number}', 'w') as file:
        file.write(f'value {number}')
    print(number, flush=True)
"""
READ = """
import time
deadline = time.monotonic() + 30
while not open('/proc/mounts').read().count(' /etc/pve fuse'):
    assert time.monotonic() < deadline, '/etc/pve is not mounted'
    time.sleep(0.05)
for number in range(20):
    try:
        print(open(f'/etc/pve/nodes/n1/probe-{number}').read())
    except FileNotFoundError:
        pass
"""
FORGO_SYNCING = """
import pathlib, kvorum.store.disk as disk
place = pathlib.Path(disk.__file__).parent
for name, promise, lie in (
    ('disk', 'self._flusher.start(self._journal.descriptor, lambda error: self._ended(upto, error))',
     'self._loop.call_soon(self._ended, upto, None)'),
    ('database', 'synchronous=FULL', 'synchronous=OFF'),
):
    source = place / f'{name}.py'
    text = source.read_text()
    assert promise in text
    source.write_text(text.replace(promise, lie))
    for cached in (place / '__pycache__').glob(f'{name}.*'):
        cached.unlink()
"""
OURS = "/usr/lib/kvorum/bin/python"


@pytest.fixture
def node(make_lab):
    return make_lab(Plan(1, lossy=True))


def written_and_cut(lab) -> list[str]:
    """Write, pull the plug as soon as the last write is acknowledged, boot again, read."""
    done = lab.exec("n1", ["python3", "-c", WRITE], check=True)
    lab.cut("n1")
    assert done.stdout.split() == [str(number) for number in range(20)]
    lab.power("n1")
    return lab.exec("n1", ["python3", "-c", READ], check=True, timeout_s=60).stdout.splitlines()


def test_what_was_acknowledged_survives_a_power_cut(node):
    assert written_and_cut(node) == [f"value {number}" for number in range(20)]


def test_a_store_that_skips_syncing_is_caught_by_the_lossy_disk(node):
    node.exec("n1", [OURS, "-c", FORGO_SYNCING], check=True)
    node.exec("n1", ["systemctl", "restart", "pve-cluster"], check=True)
    assert written_and_cut(node) != [f"value {number}" for number in range(20)]
