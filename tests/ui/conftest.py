"""The page in Debian's Chromium over the fake API; it must be built, and each test has a fresh world."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import fake_api
import fake_world
import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE_MS = 10_000


class FakeServer:
    """The fake API on a thread with an event loop of its own."""

    def __init__(self) -> None:
        self.world = fake_world.new_world()
        self._ready: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._ready.result(timeout=10)}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(fake_api.application(self.world), access_log=None, shutdown_timeout=1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._ready.set_result(runner.addresses[0][1])
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            self._loop.run_until_complete(asyncio.wait([task], timeout=5))
        self._loop.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if not (fake_world.PAGE / "index.html").is_file():
        pytest.fail("The page is not built, so there is nothing to test: run `make page` first.")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt install chromium")
    expect.set_options(timeout=DEADLINE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def standing_server() -> Iterator[FakeServer]:
    """One server for all tests, so that the browser may keep the page's files."""
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def server(standing_server: FakeServer) -> FakeServer:
    """The server with a fresh world."""
    standing_server.world.reset()
    return standing_server


class Complaints:
    """What the browser complained about: errors on the console, uncaught ones, breaches of the CSP."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def listen(self, page: Page) -> None:
        page.on("console", lambda it: it.type in ("error", "warning") and self.all.append(it.text))
        page.on("pageerror", lambda error: self.all.append(f"uncaught: {error}"))

    @property
    def of_the_page(self) -> list[str]:
        """Without the browser's own note about each answer that is not 2xx."""
        return [text for text in self.all if not text.startswith("Failed to load resource")]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: FakeServer, complaints: Complaints) -> Iterator[OpenPage]:
    """Opens the page (width, locale, dark=…), and in the end checks that the page itself broke nothing."""
    contexts = []

    def open_it(width: int = 1280, *, locale: str = "en-US", dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            locale=locale,
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        context.set_default_timeout(DEADLINE_MS)
        page = context.new_page()
        complaints.listen(page)
        page.goto(server.address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints.of_the_page == []


@pytest.fixture(scope="session")
def kept_context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile that keeps the page's files between tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(DEADLINE_MS)
    yield context
    context.close()


@pytest.fixture
def page(kept_context: BrowserContext, server: FakeServer, complaints: Complaints) -> Iterator[Page]:
    """The page in English, logged in as root@pam by a ticket from before, in a context that is kept."""
    kept_context.clear_cookies()
    kept_context.add_cookies(
        [
            {"name": "PVEAuthCookie", "value": "PVE%3Aroot%40pam%3A5F000000%3A%3Aold", "url": server.address}
            | {"sameSite": "Strict", "secure": True}
        ]
    )
    page = kept_context.new_page()
    complaints.listen(page)
    page.goto(server.address)
    expect(page.locator("#main h1")).to_be_visible()
    yield page
    page.close()
    assert complaints.of_the_page == []


def log_in(page: Page) -> Page:
    page.locator("#password").fill(fake_world.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#main h1")).to_be_visible()
    return page


@pytest.fixture
def logged_in() -> Callable[[Page], Page]:
    return log_in
