"""Holds a node's pvedaemon at a named point of a change, so that a fault falls exactly there.

``held_daemon.py`` has the points of a cluster's changes, ``held_guests.py`` those of guests' changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kvorum.lab import LabError

if TYPE_CHECKING:
    from lab_cluster import Cluster

CLUSTER = "held_daemon.py"
GUESTS = "held_guests.py"
_DROP_IN = """[Service]
ExecStart=
ExecStart=/usr/lib/kvorum/bin/python -I /var/lib/walk/{}
"""
_PLACE = "mkdir -p {0} && cat > {0}/{1}"


class NotReached(AssertionError):
    """The change went by without the point, or ended before it."""


def hold_daemons(cluster: Cluster, nodes: Iterable[str], daemon: str = CLUSTER) -> None:
    """Have these nodes' pvedaemons be such as can be held, now and after every start."""
    drop_in = "/etc/systemd/system/pvedaemon.service.d"
    for node in nodes:
        for name in (CLUSTER, GUESTS):
            text = Path(__file__).with_name(name).read_text()
            cluster.say(node, "sh", "-c", _PLACE.format("/var/lib/walk", name), input=text)
        cluster.say(node, "sh", "-c", _PLACE.format(drop_in, "walk.conf"), input=_DROP_IN.format(daemon))
        cluster.say(node, "sh", "-c", "systemctl daemon-reload && systemctl restart pvedaemon")


def arm(cluster: Cluster, node: str, point: str) -> None:
    """Have the daemon stand still when it comes to this point."""
    script = (
        "rm -rf /run/walk && mkdir /run/walk && mkfifo /run/walk/held /run/walk/go && cat > /run/walk/point"
    )
    cluster.say(node, "sh", "-c", script, input=point)


@contextlib.contextmanager
def held(cluster: Cluster, node: str, timeout_s: float = 60.0) -> Iterator[None]:
    """While open the daemon stands still at its point; raises ``NotReached`` when it does not come to it."""
    shown = cluster.run(node, "timeout", str(timeout_s), "cat", "/run/walk/held", timeout_s=timeout_s + 20)
    if not shown.stdout:
        raise NotReached(f"{node} did not come to its point within {timeout_s:g} s: {shown.stderr}")
    try:
        yield
    finally:
        with contextlib.suppress(LabError):  # its power may be off, and then nothing is held
            cluster.run(node, "timeout", "5", "sh", "-c", "test -p /run/walk/go && echo > /run/walk/go")
