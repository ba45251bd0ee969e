"""The how-to's clicks (mission W7 to W9, W11, W13, W18) on real nodes; no certificate error is ignored."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lab_browser import ARGUMENTS, CHROMIUM, DEADLINE_MS, Relay, trusting
from lab_cluster import Cluster, address
from playwright.sync_api import Error, Page, Playwright, expect, sync_playwright

from kvorum.lab import Lab
from kvorum.lab.plan import Plan

NODES = ("n1", "n2")
QNETD = "198.18.10.201"
SEEN_MS = 2000
"""How soon a page shows a node that has joined (W11)."""


@pytest.fixture
def two(make_lab: Callable[[Plan], Lab]) -> Cluster:
    """Two nodes of their own, and a machine for QNetd."""
    return Cluster(make_lab(Plan(2, plain=1)))


@pytest.fixture
def pages(two: Cluster) -> Iterator[dict[str, str]]:
    """The address of each node's page."""
    relays = {node: Relay(two.lab, node) for node in NODES}
    yield {node: relay.url for node, relay in relays.items()}
    for relay in relays.values():
        relay.close()


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt install chromium")
    expect.set_options(timeout=DEADLINE_MS)
    with sync_playwright() as it:
        yield it


@pytest.fixture
def complaints() -> list[str]:
    """What the pages broke of their own; filled as they run."""
    return []


OpenPage = Callable[[str], Page]


@pytest.fixture
def open_page(
    playwright: Playwright,
    two: Cluster,
    pages: dict[str, str],
    tmp_path: Path,
    complaints: list[str],
) -> Iterator[OpenPage]:
    """Opens a node's page at its Cluster tab, root logged in; each node's authority of now is trusted."""
    authorities = {node: two.say(node, "cat", "/etc/pve/pve-root-ca.pem") for node in NODES}
    trust = trusting(tmp_path / "trusting", authorities)
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, env=trust)

    def open_it(node: str) -> Page:
        context = browser.new_context(locale="en-US")
        context.set_default_timeout(DEADLINE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda it: "Content Security" in it.text and complaints.append(it.text))
        page.goto(f"{pages[node]}/#/datacenter/cluster")
        page.locator("#password").fill(two.lab.password)
        page.keyboard.press("Enter")
        expect(page.locator("#main h1")).to_have_text("Datacenter")
        return page

    yield open_it
    browser.close()


def shown_fingerprint(url: str) -> str:
    """The fingerprint of the certificate that a page shows to a new connection."""
    at = urlsplit(url)
    assert at.hostname is not None and at.port is not None
    pem = ssl.get_server_certificate((at.hostname, at.port), timeout=20)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def in_dialog(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name).click()


def choose_link(page: Page, number: int, own: str) -> None:
    page.get_by_role("dialog").get_by_label(f"Address of link {number}").select_option(own)


@pytest.mark.timeout(300)
def test_two_nodes_become_a_cluster_by_the_clicks_of_the_how_to(
    open_page: OpenPage,
    playwright: Playwright,
    two: Cluster,
    pages: dict[str, str],
    tmp_path: Path,
    complaints: list[str],
) -> None:
    lab = two.lab
    stranger = playwright.chromium.launch(
        executable_path=CHROMIUM, args=ARGUMENTS, env=trusting(tmp_path / "stranger", {})
    )
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        stranger.new_page().goto(pages["n2"])
    stranger.close()

    # W7: a name, and two links of the node's own addresses
    n1 = open_page("n1")
    press(n1, "Create Cluster")
    n1.get_by_label("Cluster Name").fill("walk")
    choose_link(n1, 0, address(lab, "n1", 0))
    in_dialog(n1, "Add link")
    choose_link(n1, 1, address(lab, "n1", 1))
    in_dialog(n1, "Create")
    expect(n1.get_by_role("log")).to_contain_text("TASK OK")
    about = n1.get_by_role("region", name="Cluster Information")
    expect(about).to_contain_text(re.compile("Cluster Name.*walk"))
    press(n1, "Join Information")
    information = n1.get_by_label("Join Information", exact=True).input_value()
    n1.keyboard.press("Escape")
    nodes = n1.get_by_role("region", name="Cluster Nodes")
    expect(nodes.get_by_role("row")).to_have_count(2)

    # W8: pasted on the other node's own page
    n2 = open_page("n2")
    former = shown_fingerprint(pages["n2"])
    press(n2, "Join Cluster")
    n2.get_by_label("Join Information or token").fill(information)
    dialog = n2.get_by_role("dialog")
    expect(dialog).to_contain_text(shown_fingerprint(pages["n1"]))
    expect(dialog.get_by_label("Address of link 0")).to_have_value(address(lab, "n2", 0))
    expect(dialog.get_by_label("Address of link 1")).to_have_value(address(lab, "n2", 1))
    dialog.get_by_label("Password", exact=True).fill("not it")
    in_dialog(n2, "Join “walk”")
    expect(dialog.get_by_role("alert")).to_contain_text("refuses the password of root@pam")
    dialog.get_by_label("Password", exact=True).fill(lab.password)
    in_dialog(n2, "Join “walk”")
    log = dialog.get_by_role("log")
    expect(log).to_contain_text("request addition of this node")
    expect(log).to_contain_text("successfully added node 'n2' to cluster.", timeout=60_000)
    expect(log).to_contain_text("TASK OK")
    # by its name: n1's row may speak of n2 too, while a link is not up yet
    n2_row = nodes.get_by_role("row", name=re.compile("^n2 "))
    expect(n2_row).to_contain_text("online", timeout=SEEN_MS)

    # W9: the page has gone on under the certificate that the browser knows, and nobody had to log in again
    assert shown_fingerprint(pages["n2"]) == former
    expect(n2.locator("#tree li").filter(has_text="n1")).to_contain_text("online")
    certificate = dialog.get_by_role("region", name="Certificate of this page")
    expect(certificate).to_contain_text(former)
    told = certificate.locator(".kv-facts > div").filter(has_text="The cluster's").locator("dd").inner_text()
    with n2.expect_navigation():
        in_dialog(n2, "Take the cluster's certificate and reload")
    expect(n2.get_by_role("region", name="Cluster Nodes").get_by_role("row")).to_have_count(3)
    expect(n2.get_by_role("region", name="Certificate of this page")).to_have_count(0)
    assert shown_fingerprint(pages["n2"]) == told != former
    n2.reload()
    expect(n2.get_by_role("treeitem").filter(has_text="n1")).to_contain_text("online")

    # W18: votes, with what they mean told before
    press(n2, "Change the votes of n1")
    n2.get_by_role("dialog").get_by_label("Votes", exact=True).fill("2")
    after = n2.get_by_role("region", name="Afterwards")
    expect(after).to_contain_text("3 votes in all, 2 make a quorum.")
    expect(after).to_contain_text("n2 may fail. If n1 fails, the rest becomes read-only.")
    in_dialog(n2, "Set votes")
    expect(n2.get_by_role("log")).to_contain_text("n1 has 2 votes: 3 in all, 2 make a quorum")
    vote = n2.get_by_role("cell", name="Change the votes of n1")
    expect(vote).to_have_text("2")
    assert "Total votes:      3" in two.say("n1", "pvecm", "status")

    # W13: alone, the one with one vote says so on every view; the other goes on
    lab.partition("n1|n2")
    banner = n2.locator(".kv-banners")
    expect(banner).to_contain_text("No quorum: this part of the cluster is read-only.")
    expect(banner).to_contain_text("1 of 3 votes are present, 2 are needed. 1 more vote brings it back.")
    n2.goto(f"{pages['n2']}/#/node/n2")
    expect(banner).to_contain_text("Switch on: n1.")
    expect(n1.get_by_role("region", name="Quorum")).to_contain_text("Offline: n2.")
    expect(n1.locator(".kv-banners")).to_be_empty()
    lab.heal()
    expect(banner).to_be_empty()

    # W16: a QDevice instead of the second vote, by the how-to's preparations on its machine
    n2.goto(f"{pages['n2']}/#/datacenter/cluster")
    press(n2, "Change the votes of n1")
    n2.get_by_role("dialog").get_by_label("Votes", exact=True).fill("1")
    in_dialog(n2, "Set votes")
    expect(vote).to_have_text("1")
    for machine in (*NODES, "p1"):
        two.say(machine, "apt-get", "update", timeout_s=120)
    two.say("p1", "apt-get", "install", "-y", "corosync-qnetd", timeout_s=120)
    press(n2, "Set Up QDevice")
    dialog.get_by_label("Address", exact=True).fill(QNETD)
    dialog.get_by_label("Password of root there", exact=True).fill(lab.password)
    in_dialog(n2, "Continue")
    expect(dialog).to_contain_text(
        two.say("p1", "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    )
    in_dialog(n2, "It is the same: set up")
    expect(dialog.get_by_role("alert")).to_contain_text("'PermitRootLogin yes' is missing there")
    two.say("p1", "sh", "-c", "echo PermitRootLogin yes >> /etc/ssh/sshd_config && systemctl restart ssh")
    in_dialog(n2, "It is the same: set up")
    expect(n2.get_by_role("log")).to_contain_text("votes: 3 votes, quorum 2", timeout=90_000)
    device = n2.get_by_role("region", name="QDevice")
    expect(device).to_contain_text(f"{QNETD}:5403")
    expect(device).to_contain_text("Connected")
    assert "Qdevice" in two.say("n1", "pvecm", "status")
    press(n2, "Remove QDevice")
    in_dialog(n2, "Remove QDevice")
    expect(device).to_contain_text("There is no QDevice.", timeout=60_000)
    assert complaints == []
