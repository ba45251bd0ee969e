"""``kvorum serve``: the store, pvedaemon and pveproxy in one process, for one node and any user."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from kvorum.access import GeneratedPassword, PamRealm, Realm, stored_password
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.server import pvedaemon, pveproxy
from kvorum.server.daemon import allow_many_connections, log_to_stderr, stopped
from kvorum.server.forward import PORT
from kvorum.server.standalone import own_store


def default_directory() -> Path:
    """Where an ordinary user's node lies (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "kvorum"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="kvorum serve", description=__doc__)
    options.add_argument("--dir", type=Path, default=None, help="where everything lies")
    options.add_argument("--port", type=int, default=PORT, help="port of the page (default: %(default)s)")
    options.add_argument("--address", default="127.0.0.1", help="address of the page; '' for all")
    options.add_argument("--pam", action="store_true", help="log in by the system's passwords (as root only)")
    return options


async def serve(directory: Path, port: int, address: str, realm: Realm, announce: str) -> None:
    """Run one node under a directory until asked to end; raises ``KvorumError`` when it can't start."""
    paths = Paths.under(directory)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(own_store(paths))
        await stack.enter_async_context(pvedaemon.running(store, paths, [realm], port))
        await stack.enter_async_context(pveproxy.running(store, paths, [realm], port, address))
        print(announce, flush=True)  # noqa: T201  # a command's output
        await stopped()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``kvorum serve``; returns the exit status."""
    options = parser().parse_args(argv)
    directory = (options.dir or default_directory()).resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = Paths.under(directory)
    realm: Realm
    if options.pam:
        realm, how = PamRealm(), "user root with the system's password"
    else:
        file = paths.state / "login-password"
        realm = GeneratedPassword(stored_password(file))
        how = f"user root, password {file.read_text(encoding='ascii').strip()} (kept in {file})"
    log_to_stderr()
    allow_many_connections()
    host = options.address or "localhost"
    announce = f"https://{f'[{host}]' if ':' in host else host}:{options.port}\nlog in as {how}"
    try:
        asyncio.run(serve(directory, options.port, options.address, realm, announce))
    except KvorumError as error:
        print(f"kvorum serve: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
