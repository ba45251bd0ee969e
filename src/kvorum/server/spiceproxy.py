"""spiceproxy: the way of SPICE clients, on port 3128. systemd begins it with the first client, and it ends
itself when nobody was there for a while, so that it costs nothing where nobody uses it.

Started as ``python -m kvorum.server.spiceproxy`` with the listening socket (spiceproxy.socket).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from kvorum.access import AccessAuthority, Authentication, Keys, SpiceTicket
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.core.spice_names import PROXY_PORT
from kvorum.interface import Services
from kvorum.server.certificates import Certificates
from kvorum.server.daemon import main
from kvorum.server.listed import listed_nodes
from kvorum.server.spice.proxy import SpiceProxy
from kvorum.store import Store
from kvorum.systemd.activation import inherited

log = logging.getLogger(__name__)

IDLE_S = 300.0


class StoredCluster:
    """What the proxy knows of the cluster, as the store has it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._authentication = Authentication(Keys(store), AccessAuthority(store))
        self._certificates = Certificates(store)

    @property
    def node(self) -> str:
        """This node's name."""
        return self._store.node

    def ticket(self, text: str) -> SpiceTicket | None:
        """What a ticket says that a node of this cluster gave not long ago."""
        return self._authentication.spice_ticket_of(text)

    def address(self, node: str) -> str | None:
        """Where a node is, by its name in lower case; ``None``: there is none."""
        return {name.lower(): address for name, address in listed_nodes(self._store).items()}.get(node)

    def context(self) -> ssl.SSLContext:
        """The node's own certificate, as the client's file describes it. Raises ``KvorumError``."""
        return self._certificates.node()


def end_this_process() -> None:
    """End as systemd would ask for it."""
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def running(
    store: Store,
    paths: Paths,
    sockets: Sequence[socket.socket] | None = None,
    port: int = PROXY_PORT,
) -> AsyncIterator[Services]:
    """Answer on the sockets. Raises ``KvorumError`` when there is none."""
    listening = inherited() if sockets is None else sockets
    if not listening:
        raise KvorumError("no socket was handed over: start spiceproxy.socket")
    proxy = SpiceProxy(StoredCluster(store), paths.daemon_socket, port)
    servers = [await asyncio.start_server(proxy.begin, sock=sock) for sock in listening]
    waiting = asyncio.create_task(until_idle(proxy, IDLE_S, end_this_process), name="idle")
    try:
        yield Services()
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        for server in servers:
            server.close()
        await proxy.close()


async def until_idle(proxy: SpiceProxy, idle_s: float, end: Callable[[], None]) -> None:
    """Call ``end`` once nobody was connected for ``idle_s``; for whoever comes then systemd starts anew."""
    while True:
        await proxy.idle.wait()
        try:
            async with asyncio.timeout(idle_s):
                await proxy.busy.wait()
        except TimeoutError:
            log.info("nobody came within %g s: until the next client", idle_s)
            end()
            return


if __name__ == "__main__":
    main("spiceproxy", running)
