"""The page of real nodes in a real browser: what an admin sees and clicks (mission W2, W5)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from lab_browser import ARGUMENTS, CHROMIUM, DEADLINE_MS, Relay
from lab_cluster import NODES, SHARED, Cluster, Maker
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

TOLD_MS = 2000
"""How soon a page shows what has happened anywhere in the cluster."""

OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def pages(formed: Cluster) -> Iterator[dict[str, str]]:
    """The address of each node's page."""
    relays = {node: Relay(formed.lab, node) for node in NODES}
    yield {node: relay.url for node, relay in relays.items()}
    for relay in relays.values():
        relay.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt install chromium")
    expect.set_options(timeout=DEADLINE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def admin(browser: Browser, pages: dict[str, str], formed: Cluster) -> Iterator[BrowserContext]:
    """A browser in which root has logged in once, at the first node."""
    context = browser.new_context(ignore_https_errors=True, locale="en-US")
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    page.goto(pages["n1"])
    page.locator("#password").fill("not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("authentication failure")
    page.locator("#password").fill(formed.lab.password)
    page.keyboard.press("Enter")
    expect(page.locator("#main h1")).to_be_visible()
    page.close()
    yield context
    context.close()


@pytest.fixture
def open_page(admin: BrowserContext, pages: dict[str, str], cluster: Cluster) -> Iterator[OpenPage]:
    """Opens a node's page, logged in; in the end the page itself must have broken nothing."""
    complaints: list[str] = []
    opened = []

    def open_it(node: str) -> Page:
        page = admin.new_page()
        opened.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda it: "Content Security" in it.text and complaints.append(it.text))
        page.goto(pages[node])
        expect(page.locator("#main h1")).to_be_visible()
        return page

    yield open_it
    for page in opened:
        page.close()
    assert complaints == []


def in_tree(page: Page, text: str) -> None:
    page.get_by_role("treeitem").get_by_text(text, exact=True).click()
    expect(page.locator("#main h1")).to_contain_text(text)


def press(page: Page, name: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name=name).click()


def confirm(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name).click()


def state(page: Page, word: str, node: str) -> None:
    """Wait until the guest's head says how and where it is."""
    expect(page.locator(".kv-head .kv-state")).to_have_text(word)
    expect(page.locator(".kv-head")).to_contain_text(f"on {node}")


def test_every_nodes_page_shows_all_nodes_with_one_login(open_page: OpenPage) -> None:
    for node in NODES:
        page = open_page(node)
        for name in NODES:
            row = page.get_by_role("row").filter(has=page.locator(f"a[href='#/node/{name}']"))
            expect(row).to_contain_text("online")
            expect(row).to_contain_text(re.compile(r"% of \d+ CPU"))
        expect(page.get_by_role("region", name="Quorum")).to_contain_text("Any one of the 3 nodes")
        in_tree(page, NODES[-1])
        expect(page.get_by_role("region", name="Status")).to_contain_text("Linux")


def test_a_guest_is_started_and_migrated_by_clicks(
    open_page: OpenPage, guest: Maker, cluster: Cluster
) -> None:
    vmid = guest("n1", "--name", "clicked", "--scsi0", f"{SHARED}:0.01,format=qcow2")
    page = open_page("n1")
    in_tree(page, "clicked")
    state(page, "stopped", "n1")
    press(page, "Start")
    state(page, "running", "n1")
    log = page.get_by_role("log")
    expect(log).to_contain_text("TASK OK")

    press(page, "Migrate")
    page.get_by_role("dialog").get_by_role("radio", name="n3", exact=True).check()
    confirm(page, "Migrate")
    state(page, "running", "n3")
    expect(log).to_contain_text(re.compile(r"migration finished successfully .*downtime \d+ ms"))
    expect(log).to_contain_text("TASK OK")
    expect(page.locator("#main").get_by_role("alert")).to_have_count(0)
    assert cluster.status("n3", vmid) == "running"

    other = open_page("n2")
    in_tree(other, "clicked")
    state(other, "running", "n3")
    press(other, "Stop")
    confirm(other, "Stop")
    state(other, "stopped", "n3")
    expect(other.get_by_role("log")).to_contain_text("TASK OK")


def test_what_a_command_does_on_another_node_is_told_to_the_page(
    open_page: OpenPage, guest: Maker, cluster: Cluster
) -> None:
    vmid = guest("n2", "--name", "told")
    page = open_page("n1")
    in_tree(page, "told")
    state(page, "stopped", "n2")
    row = page.get_by_role("treeitem").filter(has_text="told")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    cluster.say("n2", "qm", "start", str(vmid))
    ended = time.monotonic()
    expect(row).to_contain_text("running", timeout=TOLD_MS)
    took = time.monotonic() - ended
    expect(page.locator(".kv-head .kv-state")).to_have_text("running", timeout=TOLD_MS)
    latest = page.locator(".kv-latest")
    expect(latest).to_contain_text(f"Start VM {vmid}", timeout=TOLD_MS)
    assert [url for url in asked if "/cluster/" in url] == [], "the lists are told, not asked for"
    print(f"the page showed it {took * 1000:.0f} ms after the command had ended")


def test_a_restart_of_pveproxy_is_survived_without_a_reload(
    open_page: OpenPage, guest: Maker, cluster: Cluster
) -> None:
    vmid = guest("n2", "--name", "after")
    page = open_page("n1")
    in_tree(page, "after")
    cluster.say("n1", "systemctl", "restart", "pveproxy")
    cluster.say("n2", "qm", "start", str(vmid))
    state(page, "running", "n2")
    expect(page.locator(".kv-banners")).to_be_empty()


def test_a_running_task_is_stopped_by_a_click(open_page: OpenPage, guest: Maker) -> None:
    guest("n2", "--name", "deaf")
    page = open_page("n1")
    in_tree(page, "deaf")
    press(page, "Start")
    state(page, "running", "n2")
    press(page, "Shutdown")
    confirm(page, "Shutdown")
    page.get_by_role("region", name="Task log").get_by_role("button", name="Stop task").click()
    expect(page.get_by_role("log")).to_contain_text("TASK ERROR")
    state(page, "running", "n2")


def test_a_node_cut_off_says_that_it_has_no_quorum_and_what_brings_it_back(
    open_page: OpenPage, cluster: Cluster
) -> None:
    page = open_page("n1")
    cluster.lab.partition("n1|n2,n3")
    banner = page.locator(".kv-banners")
    expect(banner).to_contain_text("No quorum")
    expect(banner).to_contain_text("1 of 3 votes are present, 2 are needed")
    expect(banner).to_contain_text("Switch on: n2 or n3.")
    cluster.lab.heal()
    expect(banner).to_be_empty()
