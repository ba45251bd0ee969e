"""A node of a corosync ring as pve-cluster and pvedaemon make it: the store, and who follows it.

    python ring_follower.py NAME ROOT [PEER=ROOT …]

Run inside the node's namespaces. Prints ``ready``; a peer is asked for its corosync.conf by reading its file,
and what systemd would do with corosync is said as ``restart``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from kvorum.cluster.change import cluster_on
from kvorum.cluster.following import CorosyncConfiguration
from kvorum.core.errors import Unreachable
from kvorum.core.paths import Paths
from kvorum.interface import Peers
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store


class Files(Peers):
    """The peers' own copies, as their pvedaemons tell them."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = roots

    async def call(
        self, node: str, verb: str, path: str, parameters: Mapping[str, object] | None = None, *,
        timeout: float = 10.0,
    ) -> object:  # fmt: skip
        if node not in self._roots:
            raise Unreachable(f"can't reach node '{node}'")
        return (self._roots[node] / "corosync" / "corosync.conf").read_text()


async def main(name: str, root: Path, peers: Mapping[str, Path]) -> None:
    paths = Paths.under(root)
    async with (
        running_store(paths, node=name, fuse=True, corosync=True),
        StoreClient(paths.store_socket) as store,
    ):
        cluster = cluster_on(store, paths)

        async def restart() -> None:
            print("restart", flush=True)

        cluster.host.restart_corosync = restart  # type: ignore[method-assign]  # no systemd here
        print("ready", flush=True)
        await CorosyncConfiguration.of(cluster, Files(peers), _note).follow()


def _note(why: str) -> None:
    print(f"note {why}", flush=True)


if __name__ == "__main__":
    others = dict(pair.split("=") for pair in sys.argv[3:])
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), {n: Path(r) for n, r in others.items()}))
