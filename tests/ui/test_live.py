"""The page lives on the server's events: what it is told, and what it does when it is told nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

HIDE = """() => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOW = """() => {
  delete document.hidden;
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def until(page: Page) -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds in the fake world, while the page goes on."""

    def wait(holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            page.wait_for_timeout(20)
        raise AssertionError("it did not come within 10 s")

    return wait


def tree_row(page: Page, name: str) -> Any:
    return page.get_by_role("treeitem").filter(has_text=name)


def test_a_change_is_seen_at_once_and_nobody_asked_for_it(page: Page, server: Any, until: Any) -> None:
    world = server.world
    until(lambda: world.streams == 1)
    expect(tree_row(page, "mail")).to_contain_text("stopped")
    page.wait_for_timeout(500)
    world.asked.clear()
    world.guests[102]["status"] = "running"
    expect(tree_row(page, "mail")).to_contain_text("running", timeout=1000)
    world.guests[130] = {"name": "fresh", "node": "pve3", "status": "stopped", "since": 0}
    expect(tree_row(page, "fresh")).to_contain_text("stopped", timeout=1000)
    del world.guests[130]
    expect(tree_row(page, "fresh")).to_have_count(0, timeout=1000)
    page.wait_for_timeout(5000)
    assert world.asked == []
    assert world.streams == 1


def test_the_view_of_a_guest_asks_again_only_when_the_guest_changed(
    page: Page, server: Any, until: Any
) -> None:
    tree_row(page, "mail").get_by_text("mail").click()
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("mail")
    page.wait_for_timeout(500)
    server.world.asked.clear()
    server.world.guests[102].update(name="post", status="running")
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("post")
    expect(page.locator(".kv-head .kv-state")).to_have_text("running")
    expect(page.get_by_role("region", name="Status")).to_contain_text("4242")
    assert set(server.world.asked) == {"/nodes/pve2/qemu/102/config", "/nodes/pve2/qemu/102/status/current"}


def test_quorum_lost_is_told(page: Page, server: Any) -> None:
    server.world.online -= {"pve2", "pve3"}
    expect(page.locator(".kv-banners")).to_contain_text("No quorum", timeout=1500)
    expect(tree_row(page, "pve3")).to_contain_text("offline")


def test_a_stream_that_breaks_is_taken_up_where_it_broke(page: Page, server: Any, until: Any) -> None:
    world = server.world
    until(lambda: world.streams == 1)
    world.guests[102]["status"] = "running"
    expect(tree_row(page, "mail")).to_contain_text("running")
    world.events = "cut"
    until(lambda: world.streams == 0)
    world.guests[102]["status"] = "stopped"
    expect(tree_row(page, "mail")).to_contain_text("stopped")
    world.events = "told"
    until(lambda: world.streams == 1)
    assert world.opened[0] == ""
    assert re.fullmatch(rf"{world.epoch}-\d+", world.opened[-1])


def test_a_server_that_has_forgotten_is_asked_for_everything(page: Page, server: Any, until: Any) -> None:
    world = server.world
    until(lambda: world.streams == 1)
    page.wait_for_timeout(300)
    world.asked.clear()
    world.epoch += 1
    until(lambda: {"/cluster/resources", "/cluster/status", "/cluster/tasks"} <= set(world.asked))
    world.guests[102]["status"] = "running"
    expect(tree_row(page, "mail")).to_contain_text("running")


@pytest.mark.parametrize("events", ["absent", "cut"])
def test_without_a_stream_the_page_asks(page: Page, server: Any, events: str) -> None:
    server.world.events = events
    server.world.guests[102]["status"] = "running"
    expect(tree_row(page, "mail")).to_contain_text("running")
    expect(page.locator(".kv-banners")).to_be_empty()


def test_a_stream_that_is_held_back_is_said_and_the_page_asks_slowly(
    page: Page, server: Any, until: Any
) -> None:
    world = server.world
    world.events = "held"
    page.clock.install()
    page.reload()
    expect(tree_row(page, "mail")).to_contain_text("stopped")
    page.clock.run_for(14_000)
    banner = page.locator(".kv-banners")
    expect(banner).to_contain_text("Changes do not come through by themselves.")
    world.guests[102]["status"] = "running"
    page.clock.run_for(6_000)
    expect(tree_row(page, "mail")).to_contain_text("running")
    world.events = "told"
    for _ in range(40):  # a second at a time: the answer comes by the true clock
        page.clock.run_for(1_000)
        page.wait_for_timeout(50)
        if world.streams == 1:
            break
    expect(banner).to_be_empty()


def test_a_tab_that_nobody_sees_gives_its_connection_back(page: Page, server: Any, until: Any) -> None:
    world = server.world
    page.clock.install()
    page.reload()
    until(lambda: world.streams == 1)
    page.evaluate(HIDE)
    page.clock.run_for(25_000)
    until(lambda: world.streams == 0)
    world.guests[102]["status"] = "running"
    world.epoch += 1
    page.evaluate(SHOW)
    page.clock.run_for(1_000)
    expect(tree_row(page, "mail")).to_contain_text("running")
    until(lambda: world.streams == 1)


def test_a_tasks_log_is_streamed_only_while_it_is_shown(page: Page, server: Any, until: Any) -> None:
    world = server.world
    world.hold_at = 2
    tree_row(page, "web").get_by_text("web").click()
    page.get_by_role("toolbar").get_by_role("button", name="Migrate…").click()
    page.get_by_role("dialog").get_by_role("button", name="Migrate", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("12 %")
    until(lambda: world.streams == 2)
    task = world.tasks[-1]
    task.progress, task.doing = 0.42, "copying memory"
    log = page.get_by_role("region", name="Task log")
    expect(log).to_contain_text("42 %")
    expect(log).to_contain_text("copying memory")
    log.get_by_role("button", name="Back to the list").click()
    until(lambda: world.streams == 1)
    world.hold_at = None
    expect(tree_row(page, "web")).to_contain_text("running")
    page.get_by_role("button", name="Migrate VM 100").last.click()
    expect(page.get_by_role("log")).to_contain_text("TASK OK")
