"""pveproxy: TLS on :8006 for the page and the API, by a user whose only secret is its certificate.

Started as ``python -m kvorum.server.pveproxy``; ``running`` is the same inside another process.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from kvorum.access import AccessAuthority, Authentication, Keys, PamRealm, PveRealm, Realm, Realms
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Caller, Router, Services
from kvorum.node.resource_rows import ResourceRows
from kvorum.server import rooms
from kvorum.server.api import PREFIX, Api
from kvorum.server.certificates import Certificates
from kvorum.server.daemon import main
from kvorum.server.events import Events
from kvorum.server.forward import PORT, DaemonForwarder, NodeForwarder, close_all
from kvorum.server.listen import on_port
from kvorum.server.page import BuiltPage
from kvorum.server.replies import TEXT
from kvorum.store import Store

log = logging.getLogger(__name__)

METRICS = "/metrics"
"""Where Prometheus looks."""
CERTIFICATE_TIMEOUT_S = 60.0
"""How long a first start waits for pve-cluster and pvedaemon to make this node's certificate."""


@asynccontextmanager
async def running(
    store: Store,
    paths: Paths,
    realms: Sequence[Realm] | None = None,
    port: int = PORT,
    address: str = "",
    page: BuiltPage | None = None,
) -> AsyncIterator[Services]:
    """Answer on ``port`` (of ``address``, or of all). Raises ``KvorumError`` without a certificate."""
    services = Services()
    authority = AccessAuthority(store)
    authentication = Authentication(Keys(store), authority)
    certificates = Certificates(store)
    nodes = NodeForwarder(store, certificates.client, port)
    daemon = DaemonForwarder(paths.daemon_socket)
    services.add(Authentication, authentication)
    services.add(Realms, Realms([*(realms or [PamRealm()]), PveRealm(store)]))
    rows = ResourceRows(store)
    services.add(ResourceRows, rows)
    caller, events = Caller(store, services, authority), Events(store, authority, rows)
    api = Api(Router(rooms.methods()), store, caller, authentication, nodes, daemon, events=events)
    built = page or BuiltPage()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith(PREFIX):
            return await api.handle(request)
        if request.raw_path.partition("?")[0] == METRICS:
            return await api.handle_as(request, "/kvorum/metrics", TEXT)
        return await built.handle(request)

    try:
        context = await listening_context(store, certificates)
        async with on_port(handle, port, context, address), events.streaming():
            yield services
    finally:
        await close_all(daemon, nodes)


async def listening_context(store: Store, certificates: Certificates) -> ssl.SSLContext:
    """The TLS context, as soon as this node has a certificate.

    Raises ``KvorumError`` when it has none within ``CERTIFICATE_TIMEOUT_S``.
    """
    changes = aiter(store.watch(f"nodes/{store.node}/"))
    try:
        async with asyncio.timeout(CERTIFICATE_TIMEOUT_S):
            while True:
                change = asyncio.ensure_future(anext(changes))  # watch first, then look: nothing is missed
                await asyncio.sleep(0)
                try:
                    return certificates.listening()
                except KvorumError as error:
                    log.info("waiting: %s", error)
                    await change
                finally:
                    change.cancel()
                    await asyncio.gather(change, return_exceptions=True)
    except TimeoutError:
        return certificates.listening()


if __name__ == "__main__":
    main("pveproxy", running)
