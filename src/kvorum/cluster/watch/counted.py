"""Asks this node's Corosync for what it counts of links; imports little, for ``pvecm status``."""

from __future__ import annotations

from collections.abc import Sequence

from kvorum.cluster.watch.links import Counted, Key
from kvorum.corosync import Cmap, CorosyncNotFound, Map


def counted(keys: Sequence[Key]) -> dict[Key, Counted]:
    """What Corosync counts of these links; raises ``CorosyncError`` when it does not run."""
    found = {}
    with Cmap(Map.STATISTICS) as cmap:
        for nodeid, link in keys:
            stem = f"stats.knet.node{nodeid}.link{link}"

            def number(name: str, stem: str = stem) -> int:
                value = cmap.get(f"{stem}.{name}")
                return int(value)

            try:
                found[nodeid, link] = Counted(
                    bool(number("connected")),
                    number("latency_ave"),
                    number("tx_ping_packets"),
                    number("rx_pong_packets"),
                    number("down_count"),
                )
            except CorosyncNotFound:
                continue  # a link that corosync has not taken up, or without knet
    return found


def link_lines(names: Sequence[tuple[int, str]], links: Sequence[int]) -> list[str]:
    """The table below ``pvecm status``: each link to each other node (its id and name), as it is now.

    Raises ``CorosyncError`` when corosync does not run; empty where it counts nothing of links.
    """
    rows = counted([(nodeid, link) for nodeid, _ in names for link in links])
    if not rows:
        return []
    named = dict(names)
    lines = ["Link information", "-" * 16, f"{'Nodeid':>10} {'Link':>10} {'State':>10} {'Latency':>10} Name"]
    for (nodeid, link), one in rows.items():
        state = "connected" if one.connected else "down"
        latency = f"{one.latency_us / 1000:.2f} ms" if one.connected else "-"
        lines.append(f"0x{nodeid:08x} {link:>10} {state:>10} {latency:>10} {named[nodeid]}")
    return lines
