"""Behind somebody else's reverse proxy all works: another host name and port, TLS ended and begun anew."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab_cluster import NODES, Cluster, Maker, address
from lab_http import session
from playwright.sync_api import expect, sync_playwright
from test_page import ARGUMENTS, CHROMIUM, DEADLINE_MS

NAME = "cloud.example.test"
PERSISTS = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "te", "trailer"}
DEADLINE_S = 20


class ReverseProxy:
    """What nginx or HAProxy does, in a thread: TLS of its own, every request sent on to one node."""

    def __init__(self, cluster: Cluster, node: str, directory: Path, *, keep_host: bool) -> None:
        self._lab, self._keep_host = cluster.lab, keep_host
        self._target = f"https://{address(cluster.lab, node, 0)}:8006"
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.certificate = directory / "proxy.pem"
        _write_certificate(self.certificate)
        self._context.load_cert_chain(self.certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self.port: int = self._run(self._open())

    def close(self) -> None:
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _open(self) -> int:
        opened = session(self._lab, auto_decompress=False)
        self._client = await self._stack.enter_async_context(opened)
        runner = web.ServerRunner(web.Server(self._pass_on), shutdown_timeout=1.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listening, ssl_context=self._context).start()
        return int(listening.getsockname()[1])

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in PERSISTS]
        headers += [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Proto", "https"),
            ("Via", "1.1 corporate"),
        ]
        if self._keep_host:
            headers.append(("Host", request.headers["Host"]))
        async with self._client.request(
            request.method,
            self._target + request.raw_path,
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            passed = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in PERSISTS:
                    passed.headers.add(name, value)
            await passed.prepare(request)
            async for chunk in answer.content.iter_any():
                await passed.write(chunk)
            return passed


def _write_certificate(file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(params=[True, False], ids=["host kept", "host replaced"])
def proxy(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ReverseProxy]:
    it = ReverseProxy(cluster, "n1", tmp_path, keep_host=request.param)
    yield it
    it.close()


class Client:
    """A client that knows the proxy's name and certificate, and nothing else."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session, self.base, self.csrf = session, base, ""

    async def ask(self, verb: str, path: str, form: dict[str, str] | None = None, csrf: bool = True) -> Any:
        headers = {"CSRFPreventionToken": self.csrf} if csrf and verb != "GET" else {}
        url = f"{self.base}/api2/json{path}"
        async with self.session.request(verb, url, data=form, headers=headers) as answer:
            body = await answer.json()
            return body["data"] if answer.status == 200 else (answer.status, answer.reason)


@contextlib.asynccontextmanager
async def logged_in(proxy: ReverseProxy, password: str) -> AsyncIterator[Client]:
    trusting = ssl.create_default_context(cafile=str(proxy.certificate))
    connector = aiohttp.TCPConnector(ssl=trusting, resolver=_Resolver())
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.CookieJar(quote_cookie=False),
        timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
    ) as session:
        client = Client(session, f"https://{NAME}:{proxy.port}")
        data = await client.ask("POST", "/access/ticket", {"username": "root@pam", "password": password})
        client.csrf = data["CSRFPreventionToken"]
        session.headers["Cookie"] = f"PVEAuthCookie={data['ticket']}"
        yield client


class _Resolver(aiohttp.abc.AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        assert host == NAME, f"the client was sent to '{host}'"
        return [aiohttp.abc.ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]  # fmt: skip

    async def close(self) -> None:
        return


async def test_login_changes_tasks_and_other_nodes_through_a_proxy(
    cluster: Cluster, guest: Maker, proxy: ReverseProxy
) -> None:
    vmid = await asyncio.to_thread(guest, "n2", "--memory", "32")
    async with logged_in(proxy, cluster.lab.password) as client:
        assert {
            row["name"] for row in await client.ask("GET", "/cluster/status") if row["type"] == "node"
        } == set(NODES)
        for node in NODES:
            assert (await client.ask("GET", f"/nodes/{node}/status"))["uptime"] > 0
        path = f"/nodes/n2/qemu/{vmid}/config"
        refused = await client.ask("PUT", path, {"name": "proxied"}, csrf=False)
        assert refused == (401, "Permission denied - invalid csrf token")
        assert await client.ask("PUT", path, {"name": "proxied"}) is None
        assert (await client.ask("GET", path))["name"] == "proxied"
        upid = await client.ask("POST", f"/nodes/n2/qemu/{vmid}/status/start")
        url = f"{client.base}/api2/events?task={upid}"
        lines = b""
        async with client.session.get(url) as stream:
            async for line in stream.content:
                lines += line
        assert b"event: end" in lines and b'"OK"' in lines
        log = await client.ask("GET", f"/nodes/n2/tasks/{upid}/log")
        assert log[-1]["t"] == "TASK OK"
    audit = await asyncio.to_thread(cluster.say, "n2", "tail", "-n", "50", "/var/log/pve/audit.log")
    written = [json.loads(line) for line in audit.splitlines() if f"/qemu/{vmid}/config" in line]
    assert written and not any("203.0.113.7" in json.dumps(line) for line in written), "a header is believed"


async def test_events_come_through_a_proxy_as_they_happen(cluster: Cluster, proxy: ReverseProxy) -> None:
    async with (
        logged_in(proxy, cluster.lab.password) as client,
        client.session.get(f"{client.base}/api2/events") as stream,
    ):
        await _until(stream, b"event: hello")
        loop = asyncio.get_running_loop()
        wrote = loop.time()
        await asyncio.to_thread(cluster.say, "n3", "sh", "-c", "echo 1 > /etc/pve/nodes/n3/proxied")
        await _until(stream, b"nodes/n3/proxied")
        assert loop.time() - wrote < 5
    await asyncio.to_thread(cluster.say, "n3", "rm", "/etc/pve/nodes/n3/proxied")


async def _until(stream: aiohttp.ClientResponse, word: bytes) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async for line in stream.content:
            if word in line:
                return
    raise AssertionError(f"the stream ended before {word!r}")


def test_the_page_works_through_a_proxy(cluster: Cluster, proxy: ReverseProxy) -> None:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt install chromium")
    complaints: list[str] = []
    rules = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, rules])
        context = browser.new_context(ignore_https_errors=True, locale="en-US")
        context.set_default_timeout(DEADLINE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda it: "Content Security" in it.text and complaints.append(it.text))
        page.goto(f"https://{NAME}:{proxy.port}/")
        page.locator("#password").fill(cluster.lab.password)
        page.keyboard.press("Enter")
        expect(page.locator("#main h1")).to_be_visible(timeout=DEADLINE_MS)
        for node in NODES:
            page.get_by_role("treeitem").get_by_text(node, exact=True).click()
            expect(page.locator("#main h1")).to_contain_text(node, timeout=DEADLINE_MS)
        page.reload()
        expect(page.locator("#main h1")).to_be_visible(timeout=DEADLINE_MS)
        assert page.url.startswith(f"https://{NAME}:{proxy.port}/")
        browser.close()
    assert complaints == []
