"""What both daemons' mains share: the store, systemd's notification, signals and the log."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.interface import Services
from kvorum.store import Store, StoreClient
from kvorum.systemd.notify import notify

log = logging.getLogger(__name__)

Running = Callable[[Store, Paths], AbstractAsyncContextManager[Services]]


def log_to_stderr() -> None:
    """Log to standard error, which systemd puts into the journal with its own time and name."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(name)s: %(message)s", stream=sys.stderr)


def allow_many_connections() -> None:
    """Let this process have as many open files as it may: the usual soft limit is 1,024 (getrlimit(2))."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def stopped() -> None:
    """Return when the process is asked to end (SIGTERM, SIGINT)."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def main(name: str, running: Running) -> None:
    """Run a daemon until SIGTERM; exits with status 1 and one sentence when it can't start."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--root", type=Path, help="everything lies under this directory (tests)")
    root = parser.parse_args().root
    log_to_stderr()
    allow_many_connections()
    asyncio.run(_run(name, running, Paths.under(root) if root else Paths.system()))


async def _run(name: str, running: Running, paths: Paths) -> None:
    """Open the store and the daemon, say so to systemd, and close both when asked to end."""
    try:
        async with StoreClient(paths.store_socket) as store, running(store, paths):
            gc.collect()
            gc.freeze()  # modules and declarations stay for good: no collection has to look at them again
            notify("READY=1")
            log.info("%s is ready on node '%s'", name, store.node)
            await stopped()
            notify("STOPPING=1")
    except KvorumError as error:
        log.error("%s ends: %s", name, error)
        sys.exit(1)
