import asyncio
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest

from kvorum.access import GeneratedPassword
from kvorum.core.paths import Paths
from kvorum.server import rooms, serve


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


async def test_serve_keeps_its_keys_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket of before counts after: the store on disk has the keys."""
    monkeypatch.setattr(rooms, "SERVICES", ("tasks",))
    port, context = free_port(), ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    base = f"https://127.0.0.1:{port}/api2/json"
    ticket = ""
    for _ in range(2):
        ready, stop = asyncio.Event(), asyncio.Event()

        async def stopped(ready: asyncio.Event = ready, stop: asyncio.Event = stop) -> None:
            ready.set()
            await stop.wait()

        monkeypatch.setattr(serve, "stopped", stopped)
        running = asyncio.create_task(
            serve.serve(tmp_path, port, "127.0.0.1", GeneratedPassword("secret"), "ready")
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([running, waiting], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), running
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client:
            if not ticket:
                form = {"username": "root@pam", "password": "secret"}
                async with client.post(f"{base}/access/ticket", data=form) as answer:
                    ticket = (await answer.json())["data"]["ticket"]
            headers = {"Authorization": f"PVEAuthCookie={ticket}"}
            async with client.get(f"{base}/version", headers=headers) as answer:
                assert answer.status == 200
        stop.set()
        await asyncio.wait_for(running, 30)
        assert not Paths.under(tmp_path).daemon_socket.exists()
