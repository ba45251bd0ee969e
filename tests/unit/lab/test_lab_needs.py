from dataclasses import replace
from pathlib import Path

import pytest

from kvorum.lab import needs
from kvorum.lab.cgroup import hierarchy

HYBRID = (
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "40 39 0:30 / /sys/fs/cgroup/freezer rw shared:3 - cgroup cgroup rw,freezer\n"
    "41 39 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
GOOD = needs.Host(
    uid=0,
    tools=frozenset({"systemd-nspawn", "ip", "nft", "nsenter", "mkfs.btrfs"}),
    filesystems="nodev\tcgroup2\nnodev\toverlay\n\tbtrfs\n",
    mountinfo=HYBRID,
    fuse=True,
    loop=True,
    cgroup_kill=True,
)


def test_a_good_host_lacks_nothing():
    assert needs.missing(GOOD) is None


@pytest.mark.parametrize(
    ("host", "word"),
    [
        (replace(GOOD, uid=1000), "root"),
        (replace(GOOD, tools=GOOD.tools - {"systemd-nspawn"}), "apt-get install systemd-container"),
        (replace(GOOD, filesystems="nodev\tcgroup2\n\tbtrfs\n"), "overlay"),
        (replace(GOOD, mountinfo=HYBRID.splitlines()[0] + "\n"), "mount -t cgroup2"),
        (replace(GOOD, fuse=False), "/dev/fuse"),
        (replace(GOOD, loop=False), "modprobe loop"),
        (replace(GOOD, cgroup_kill=False), "5.14"),
    ],
)
def test_each_lack_is_one_sentence_with_the_way_out(host, word):
    told = needs.missing(host)
    assert told is not None
    assert word in told
    assert "\n" not in told


def test_the_version_2_hierarchy_is_found_on_hybrid_and_on_version_2_hosts():
    assert hierarchy(HYBRID) == Path("/sys/fs/cgroup/unified")
    assert hierarchy("30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n") == Path(
        "/sys/fs/cgroup"
    )
