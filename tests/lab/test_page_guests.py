"""A guest's life at the page of real nodes: made through another node, looked at, changed, removed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from lab_browser import signed_in
from lab_cluster import Cluster
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.timeout(360)
VMID = "8990"
LOOK_MS = 60_000
"""A console's first picture on a busy machine."""


@pytest.fixture
def page(cluster: Cluster) -> Iterator[Page]:
    """The page of n1, root logged in; in the end it must have broken nothing, and the guest is gone."""
    with signed_in(cluster.lab, "n1") as page:
        yield page
    cluster.remove(int(VMID))


def press(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row", name=re.compile(name))


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Views of this place").get_by_role("tab", name=name).click()


def test_a_guest_is_made_started_looked_at_changed_and_removed(cluster: Cluster, page: Page) -> None:
    page.get_by_role("button", name="Create VM").click()
    page.locator("#node").select_option("n2")
    expect(page.locator("#vmid")).not_to_have_value("")
    page.locator("#vmid").fill(VMID)
    page.locator("#name").fill("clicked")
    press(page, "Next")
    page.get_by_label("Serial port").check()
    press(page, "Next")
    page.locator("#scsi0-storage").select_option("local")
    page.locator("#scsi0-format").select_option("qcow2")
    page.locator("#scsi0-gib").fill("0.1")
    for _ in range(2):
        press(page, "Next")
    page.locator("#memory").fill("64")
    for _ in range(2):
        press(page, "Next")
    page.get_by_label("Start it once it is made").check()
    press(page, "Create")
    expect(page.locator("#main h1")).to_contain_text("clicked")
    expect(page.locator("#main .kv-state").first).to_have_text("running", timeout=LOOK_MS)
    assert cluster.owner(int(VMID)) == ["n2"]

    tab(page, "Console")
    screen = page.get_by_role("region", name="Display of")
    expect(screen.get_by_role("status")).to_have_text("Connected", timeout=LOOK_MS)
    page.wait_for_function("() => document.querySelector('.kv-screen canvas')?.width >= 640", timeout=LOOK_MS)
    page.get_by_role("button", name="Serial port 0").click()
    terminal = page.get_by_role("region", name="Terminal of")
    expect(terminal.get_by_role("status")).to_have_text("Connected", timeout=LOOK_MS)

    tab(page, "Hardware")
    page.get_by_role("button", name="Actions for Processors").click()
    page.get_by_role("menuitem", name="Edit").click()
    page.locator("#cores").fill("5000")
    press(page, "OK")
    expect(page.locator("#cores-help")).to_contain_text("1 to 4096")
    page.locator("#cores").fill("3")
    press(page, "OK")
    expect(row(page, "Processors")).to_contain_text("3 (1 socket, 3 cores)")
    page.get_by_role("region", name="Hardware").get_by_role("button", name="Add").click()
    page.get_by_role("menuitem", name="Disk", exact=True).click()
    page.locator("#storage").select_option("local")
    page.locator("#format").select_option("qcow2")
    page.locator("#gib").fill("0.1")
    press(page, "OK")
    expect(row(page, "Disk scsi1")).to_contain_text("local:")
    config = cluster.say("n2", "qm", "config", VMID)
    assert "cores: 3" in config and "scsi1: local:" in config

    tab(page, "Snapshots")
    expect(page.get_by_text("There is no snapshot yet.")).to_be_visible()
    page.get_by_role("button", name="Take snapshot").click()
    page.locator("#snapname").fill("before")
    page.get_by_label("With memory").uncheck()
    press(page, "Take snapshot")
    expect(row(page, "before")).to_be_visible()
    assert "before" in cluster.say("n2", "qm", "listsnapshot", VMID)

    page.get_by_role("toolbar").get_by_role("button", name="Stop").click()
    press(page, "Stop")
    expect(page.locator("#main .kv-state").first).to_have_text("stopped")
    page.get_by_role("toolbar").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Remove").click()
    page.locator("#typed").fill(VMID)
    press(page, "Remove")
    expect(page.get_by_role("treeitem").get_by_text("clicked", exact=True)).to_have_count(0)
    assert cluster.owner(int(VMID)) == []
    assert cluster.traces("n2", int(VMID)) == []
