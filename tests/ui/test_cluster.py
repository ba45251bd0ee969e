"""Datacenter → Cluster and its dialogs, in a real browser, over the fake API."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

FINGERPRINT = ":".join(["A1"] * 32)
INFORMATION = base64.b64encode(
    json.dumps(
        {
            "ipAddress": "10.0.0.1",
            "fingerprint": FINGERPRINT,
            "peerLinks": {"0": "10.0.0.1", "1": "10.1.0.1"},
            "ring_addr": ["10.0.0.1", "10.1.0.1"],
            "totem": {"cluster_name": "home"},
        }
    ).encode()
).decode()


def changes(server: Any) -> list[tuple[str, str, dict[str, str]]]:
    """What the page asked to be changed, logins left out."""
    return [request for request in server.world.requests if request[1] != "/access/ticket"]


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Cluster").click()
    expect(page.get_by_role("region", name="Cluster Information")).to_be_visible()


def press(page: Page, name: str) -> Locator:
    """Press a button that opens a dialog."""
    page.get_by_role("button", name=name, exact=True).click()
    return page.get_by_role("dialog")


def submit(dialog: Locator, name: str) -> None:
    dialog.get_by_role("button", name=name, exact=True).click()


@pytest.fixture
def tab(page: Page) -> Page:
    """The Cluster tab of a cluster of three."""
    open_tab(page)
    return page


@pytest.fixture
def alone(page: Page, server: Any) -> Page:
    """The Cluster tab of a node that is in no cluster."""
    server.world.clustered = False
    server.world.guests.clear()
    page.reload()
    open_tab(page)
    expect(page.locator("#main")).to_contain_text("This node is in no cluster.")
    return page


class TestCreate:
    def test_a_name_and_links_of_the_nodes_own_addresses_make_a_cluster(
        self, alone: Page, server: Any
    ) -> None:
        dialog = press(alone, "Create Cluster")
        expect(dialog.get_by_role("button", name="Create", exact=True)).to_be_disabled()
        dialog.get_by_label("Cluster Name").fill("home")
        dialog.get_by_role("button", name="Add link").click()
        dialog.get_by_label("Address of link 0").select_option("10.0.0.9")
        dialog.get_by_label("Address of link 1").select_option("10.2.0.9")
        dialog.get_by_label("Priority of link 1").fill("20")
        submit(dialog, "Create")
        expect(alone.get_by_role("log")).to_contain_text("TASK OK")
        form = {"clustername": "home", "link0": "10.0.0.9", "link1": "10.2.0.9,priority=20"}
        assert changes(server) == [("POST", "/cluster/config", form)]
        expect(alone.get_by_role("region", name="Cluster Information")).to_contain_text("home")

    def test_links_end_at_eight_and_can_be_taken_back(self, alone: Page) -> None:
        dialog = press(alone, "Create Cluster")
        add = dialog.get_by_role("button", name="Add link")
        for _ in range(7):
            add.click()
        expect(add).to_be_disabled()
        dialog.get_by_role("button", name="Remove link 3").click()
        expect(dialog.get_by_label("Address of link 3")).to_have_count(0)
        add.click()
        expect(dialog.get_by_label("Address of link 3")).to_be_visible()

    def test_what_the_server_says_of_a_field_stands_at_the_field(self, alone: Page) -> None:
        dialog = press(alone, "Create Cluster")
        dialog.get_by_label("Cluster Name").fill("not a name")
        expect(dialog.get_by_role("button", name="Create", exact=True)).to_be_disabled()
        dialog.get_by_label("Cluster Name").fill("taken")
        submit(dialog, "Create")
        expect(dialog.locator("#clustername-help")).to_contain_text("is taken")
        expect(dialog.locator("#link0-help")).to_contain_text("is not here")
        expect(dialog.get_by_role("alert")).to_contain_text("Parameter verification failed.")


class TestJoinInformation:
    def test_it_is_the_known_text_of_the_node_that_is_chosen(self, tab: Page) -> None:
        dialog = press(tab, "Join Information")
        expect(dialog).to_contain_text(FINGERPRINT)
        dialog.get_by_label("Over node").select_option("pve2")
        text = dialog.get_by_label("Join Information", exact=True).input_value()
        told = json.loads(base64.b64decode(text))
        assert told["ipAddress"] == "10.0.0.2"
        assert told["fingerprint"] == FINGERPRINT.replace("1", "2")
        assert told["peerLinks"] == {"0": "10.0.0.2", "1": "10.1.0.2"}
        assert told["totem"]["cluster_name"] == "home"

    def test_one_click_copies_it(self, open_page: Any, logged_in: Any) -> None:
        page = logged_in(open_page())
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        open_tab(page)
        dialog = press(page, "Join Information")
        submit(dialog, "Copy Information")
        expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == dialog.get_by_label("Join Information", exact=True).input_value()

    def test_a_token_is_shown_once_with_its_code_and_can_be_revoked(self, tab: Page, server: Any) -> None:
        dialog = press(tab, "Join Information")
        dialog.get_by_label("Good for (minutes)").fill("30")
        submit(dialog, "Make a join token")
        expect(dialog.get_by_role("img", name="QR code of the join token")).to_be_visible()
        token = dialog.get_by_role("textbox", name="Join token, good for one node")
        expect(token).to_have_value(re.compile("^kvorum-join-"))
        submit(dialog, "Revoke token a1b2c3")
        expect(dialog.get_by_role("table", name="Open tokens")).to_have_count(0)
        tokens = "/kvorum/cluster/tokens"
        assert changes(server) == [("POST", tokens, {"minutes": "30"}), ("DELETE", f"{tokens}/a1b2c3", {})]

    def test_who_is_not_root_sees_the_information_and_makes_no_tokens(
        self, open_page: Any, server: Any
    ) -> None:
        page = open_page()
        page.locator("#realm").select_option("pve")
        page.locator("#username").fill("anna")
        page.locator("#password").fill("kvorum")
        page.keyboard.press("Enter")
        open_tab(page)
        expect(page.get_by_role("button", name="Leave Cluster")).to_have_attribute("aria-disabled", "true")
        dialog = press(page, "Join Information")
        expect(dialog).to_contain_text(FINGERPRINT)
        expect(dialog.get_by_role("button", name="Make a join token")).to_have_count(0)
        assert "/kvorum/cluster/tokens" not in server.world.asked


class TestJoin:
    def test_what_is_pasted_is_shown_and_the_links_are_chosen_by_network(
        self, alone: Page, server: Any
    ) -> None:
        server.world.hold_at = 2
        dialog = press(alone, "Join Cluster")
        pasted = dialog.get_by_label("Join Information or token")
        pasted.fill(INFORMATION[:-9])
        expect(dialog).to_contain_text("This is neither join information nor a join token")
        expect(dialog.get_by_role("button", name="Join", exact=True)).to_be_disabled()
        pasted.fill(INFORMATION)
        expect(dialog).to_contain_text(FINGERPRINT)
        expect(dialog).to_contain_text("Peer: 10.1.0.1")
        expect(dialog.get_by_label("Address of link 0")).to_have_value("10.0.0.9")
        dialog.get_by_label("Address of link 1").select_option("10.2.0.9")
        dialog.get_by_label("Password", exact=True).fill("secret")
        submit(dialog, "Join “home”")
        expect(dialog.get_by_role("log")).to_contain_text("request addition of this node")
        expect(dialog).to_contain_text("Joining the cluster…")
        server.world.hold_at = None
        expect(dialog).to_contain_text("The node has joined the cluster.")
        form = {"hostname": "10.0.0.1", "fingerprint": FINGERPRINT, "password": "secret"}
        links = {"link0": "10.0.0.9", "link1": "10.2.0.9"}
        assert changes(server) == [("POST", "/cluster/config/join", form | links)]

    def test_a_token_stands_for_the_password(self, alone: Page, server: Any) -> None:
        from fake_world import JOIN_TOKEN

        dialog = press(alone, "Join Cluster")
        dialog.get_by_label("Join Information or token").fill(JOIN_TOKEN)
        expect(dialog).to_contain_text("The token stands for the password.")
        expect(dialog.get_by_label("Password", exact=True)).to_have_count(0)
        submit(dialog, "Join")
        expect(dialog).to_contain_text("The node has joined the cluster.")
        ((_, _, form),) = changes(server)
        assert form["token"] == JOIN_TOKEN
        assert form["hostname"] == "10.0.0.1"
        assert "password" not in form

    def test_without_what_was_copied_the_fingerprint_is_asked_for_and_compared(
        self, alone: Page, server: Any
    ) -> None:
        dialog = press(alone, "Join Cluster")
        dialog.get_by_label("Assisted join").uncheck()
        dialog.get_by_label("Peer Address").fill("10.0.0.1")
        submit(dialog, "Show it")
        expect(dialog.get_by_label("Fingerprint")).to_have_value(FINGERPRINT)
        dialog.get_by_label("Password", exact=True).fill("secret")
        submit(dialog, "Join")
        expect(dialog).to_contain_text("The node has joined the cluster.")
        form = {"hostname": "10.0.0.1", "fingerprint": FINGERPRINT, "password": "secret"}
        assert changes(server) == [("POST", "/cluster/config/join", form)]

    def test_a_refusal_stands_at_its_field_and_the_dialog_stays(self, alone: Page, server: Any) -> None:
        server.world.refuse_joins = {"password": "is not root's there", "link1": "is not this node's"}
        dialog = press(alone, "Join Cluster")
        dialog.get_by_label("Join Information or token").fill(INFORMATION)
        dialog.get_by_label("Password", exact=True).fill("wrong")
        submit(dialog, "Join “home”")
        expect(dialog.locator("#join-password-help")).to_contain_text("is not root's there")
        expect(dialog.locator("#link1-help")).to_contain_text("is not this node's")
        expect(dialog.get_by_label("Join Information or token")).to_have_value(INFORMATION)

    def test_guests_are_told_of_before_and_go_along_by_choice(self, page: Page, server: Any) -> None:
        server.world.clustered = False
        page.reload()
        open_tab(page)
        dialog = press(page, "Join Cluster")
        expect(dialog).to_contain_text("2 guests are on this node")
        dialog.get_by_label("Join Information or token").fill(INFORMATION)
        dialog.get_by_label("Password", exact=True).fill("secret")
        dialog.get_by_label("Take this node's guests and storages along").check()
        submit(dialog, "Join “home”")
        expect(dialog).to_contain_text("The node has joined the cluster.")
        assert changes(server)[0][2]["keep-guests"] == "1"

    def test_the_session_outlives_the_change_of_keys(self, alone: Page, server: Any) -> None:
        server.world.hold_at = 2
        dialog = press(alone, "Join Cluster")
        dialog.get_by_label("Join Information or token").fill(INFORMATION)
        dialog.get_by_label("Password", exact=True).fill("secret")
        submit(dialog, "Join “home”")
        expect(dialog.get_by_role("log")).to_contain_text("request addition of this node")
        with alone.expect_response(lambda it: it.url.endswith("/access/ticket") and it.status == 401):
            server.world.joining = True
            server.world.epoch += 1  # its streams end
        server.world.joining, server.world.hold_at = False, None
        expect(dialog).to_contain_text("The node has joined the cluster.")
        expect(alone.locator("#password")).to_have_count(0)
        expect(alone.locator("#tree li").filter(has_text="pve2")).to_contain_text("online")

    def test_the_clusters_certificate_is_taken_by_a_click_that_shows_its_fingerprint(
        self, tab: Page, server: Any
    ) -> None:
        certificate = tab.get_by_role("region", name="Certificate of this page")
        expect(certificate).to_have_count(0)
        server.world.certificate = "former"
        expect(certificate).to_contain_text(":".join(["0F"] * 32))
        expect(certificate).to_contain_text(":".join(["C1"] * 32))
        with tab.expect_navigation():
            certificate.get_by_role("button", name="Take the cluster's certificate and reload").click()
        assert changes(server) == [("DELETE", "/kvorum/cluster/nodes/pve/page-certificate", {})]
        expect(tab.get_by_role("region", name="Cluster Nodes")).to_be_visible()
        expect(certificate).to_have_count(0)


class TestNodes:
    def test_they_stand_with_votes_and_an_address_for_each_link(self, tab: Page) -> None:
        rows = tab.get_by_role("region", name="Cluster Nodes").get_by_role("row")
        expect(rows.first).to_contain_text(re.compile("Link 0.*Link 1"))
        expect(rows.filter(has_text="pve2")).to_contain_text(
            re.compile(r"online.*1.*10\.0\.0\.2.*10\.1\.0\.2")
        )
        expect(tab.get_by_role("region", name="Quorum")).to_contain_text("any 2 of pve, pve2, pve3")

    def test_what_is_wrong_with_links_and_clocks_stands_at_its_node(self, page: Page, server: Any) -> None:
        server.world.bad_links = {
            ("pve", "pve2", 1): {"connected": 0, "latency_us": 0},
            ("pve3", "pve", 0): {"loss_percent": 12.4, "latency_us": 2500},
        }
        server.world.clocks = {"pve2": 40.0, "pve3": -300_000.0}
        open_tab(page)
        rows = page.get_by_role("region", name="Cluster Nodes").get_by_role("row")
        two, three = (rows.filter(has=page.get_by_role("rowheader", name=name)) for name in ("pve2", "pve3"))
        expect(two).to_contain_text("not to pve · 0.4 ms")
        expect(two).to_contain_text("+40 ms")
        expect(three).to_contain_text("12 % lost · 2.5 ms")
        expect(three).to_contain_text("-300.0 s")

    def test_what_votes_come_to_is_told_before_they_are_set(self, tab: Page, server: Any) -> None:
        dialog = press(tab, "Change the votes of pve2")
        expect(dialog.get_by_role("button", name="Set votes")).to_be_disabled()
        dialog.get_by_label("Votes", exact=True).fill("3")
        after = dialog.get_by_role("region", name="Afterwards")
        expect(after).to_contain_text("5 votes in all, 3 make a quorum.")
        expect(after).to_contain_text("pve or pve3 may fail. If pve2 fails, the rest becomes read-only.")
        submit(dialog, "Set votes")
        expect(tab.get_by_role("log")).to_contain_text("TASK OK")
        assert changes(server) == [("POST", "/kvorum/cluster/votes", {"node": "pve2", "votes": "3"})]
        expect(tab.get_by_role("region", name="Quorum")).to_contain_text("it has 3 of 5 votes")

    def test_votes_that_cost_the_quorum_are_refused_before(self, tab: Page, server: Any) -> None:
        server.world.online -= {"pve3"}
        dialog = press(tab, "Change the votes of pve3")
        dialog.get_by_label("Votes", exact=True).fill("9")
        expect(dialog).to_contain_text("the nodes that are here would have no quorum")
        expect(dialog.get_by_role("button", name="Set votes")).to_be_disabled()

    def test_one_that_is_off_is_removed_its_guests_only_knowingly(self, tab: Page, server: Any) -> None:
        remove = tab.get_by_role("button", name="Remove pve3 from the cluster")
        expect(remove).to_have_attribute("aria-disabled", "true")
        remove.hover()
        expect(tab.get_by_role("tooltip")).to_contain_text("pve3 is running. Shut it down first")
        server.world.online -= {"pve3"}
        expect(remove).not_to_have_attribute("aria-disabled", "true")
        dialog = press(tab, "Remove pve3 from the cluster")
        expect(dialog).to_contain_text("These guests are on it: 120 archive.")
        expect(dialog.get_by_role("button", name="Remove", exact=True)).to_be_disabled()
        dialog.get_by_label("Give its guests up").check()
        submit(dialog, "Remove")
        expect(tab.get_by_role("region", name="Cluster Nodes").get_by_role("row")).to_have_count(3)
        assert changes(server) == [("DELETE", "/cluster/config/nodes/pve3", {"force": "1"})]

    def test_this_one_leaves_unless_it_has_guests(self, tab: Page, server: Any) -> None:
        dialog = press(tab, "Leave Cluster")
        submit(dialog, "Leave")
        expect(dialog.get_by_role("alert")).to_contain_text("migrate or remove them first")
        server.world.guests.clear()
        submit(dialog, "Leave")
        expect(tab.get_by_role("log")).to_contain_text("TASK OK")
        assert [path for _, path, _ in changes(server)] == ["/kvorum/cluster/leave"] * 2

    def test_without_quorum_it_says_so_and_goes_on_only_with_a_word(self, tab: Page, server: Any) -> None:
        expect(tab.get_by_role("button", name="Go on without them…")).to_have_count(0)
        server.world.online -= {"pve2", "pve3"}
        votes = tab.get_by_role("button", name="Change the votes of pve", exact=True)
        expect(votes).to_have_attribute("aria-disabled", "true")
        dialog = press(tab, "Go on without them…")
        expect(dialog.get_by_label("Votes to expect")).to_have_value("1")
        expect(dialog.get_by_role("button", name="Go on without them", exact=True)).to_be_disabled()
        dialog.get_by_label("I have made sure that these are off: pve2, pve3").check()
        submit(dialog, "Go on without them")
        expect(tab.locator(".kv-banners")).to_be_empty()
        assert changes(server) == [("POST", "/kvorum/cluster/expected", {"expected": "1"})]


class TestDevice:
    def test_it_is_set_up_once_the_host_key_was_compared(self, tab: Page, server: Any) -> None:
        dialog = press(tab, "Set Up QDevice")
        dialog.get_by_label("Address", exact=True).fill("10.0.0.99")
        dialog.get_by_label("Password of root there", exact=True).fill("secret")
        dialog.get_by_label("How it decides", exact=True).select_option("lms")
        dialog.get_by_label("Command to prefer a side").fill("/usr/bin/ping -c 1 192.0.2.1")
        submit(dialog, "Continue")
        expect(dialog.get_by_role("alert")).to_contain_text("does not answer by SSH")
        dialog.get_by_label("Address", exact=True).fill("10.0.0.50")
        submit(dialog, "Continue")
        expect(dialog).to_contain_text("SHA256:kkkk")
        assert changes(server) == []
        submit(dialog, "It is the same: set up")
        device = tab.get_by_role("region", name="QDevice")
        expect(device).to_contain_text("10.0.0.50:5403")
        expect(device).to_contain_text("Connected")
        form = {"address": "10.0.0.50", "password": "secret", "hostkey": "SHA256:" + "k" * 43, "install": "1"}
        form |= {"algorithm": "lms", "heuristics": "/usr/bin/ping -c 1 192.0.2.1"}
        assert changes(server) == [("POST", "/kvorum/cluster/qdevice", form)]

    def test_by_hand_the_commands_are_shown_and_their_answer_is_taken(self, tab: Page, server: Any) -> None:
        dialog = press(tab, "Set Up QDevice")
        dialog.get_by_label("Address", exact=True).fill("10.0.0.50")
        dialog.get_by_label("By hand, without SSH").check()
        submit(dialog, "Show the commands")
        expect(dialog).to_contain_text("corosync-qnetd-certutil -s")
        dialog.get_by_label("What the last command printed").fill(" LINE\n")
        submit(dialog, "Set up")
        expect(tab.get_by_role("region", name="QDevice")).to_contain_text("Connected")
        printed, answered = (form for _, _, form in changes(server))
        assert printed == {"address": "10.0.0.50", "manual": "1"}
        assert answered == {"address": "10.0.0.50", "answer": "LINE", "install": "1"}

    def test_its_daemon_is_looked_at_while_it_is_on_the_screen(self, tab: Page, server: Any) -> None:
        """No event tells of it: it comes up some seconds after the setup, and may lose its host."""
        server.world.device = {"QNetd host": "10.0.0.50:5403", "State": "Connecting"}
        tab.reload()
        device = tab.get_by_role("region", name="QDevice")
        expect(device).to_contain_text("Connecting")
        server.world.device["State"] = "Connected"
        expect(device).to_contain_text("Connected", timeout=30_000)

    def test_it_is_removed_by_a_second_click(self, tab: Page, server: Any) -> None:
        server.world.device = {"QNetd host": "10.0.0.50:5403", "State": "Connected"}
        dialog = press(tab, "Remove QDevice")
        submit(dialog, "Remove QDevice")
        expect(tab.get_by_role("region", name="QDevice")).to_contain_text("There is no QDevice.")
        assert changes(server) == [("DELETE", "/kvorum/cluster/qdevice", {})]


class TestLooks:
    @pytest.mark.parametrize(
        "name", ["Beitrittsinformation", "QDevice einrichten", "Stimmen von pve2 ändern"]
    )
    def test_dialogs_fit_a_phone_in_german(self, open_page: Any, logged_in: Any, name: str) -> None:
        page = logged_in(open_page(390, locale="de-DE"))
        page.goto(f"{page.url.split('#')[0]}#/datacenter/cluster")
        dialog = press(page, name)
        expect(dialog).to_be_visible()
        box = dialog.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        body = dialog.locator(".pf-v6-c-modal-box__body")
        assert body.evaluate("each => each.scrollWidth <= each.clientWidth")
        assert page.evaluate("document.getElementById('main').scrollWidth") <= 390


class TestTreeMenu:
    def test_the_other_button_offers_what_the_guests_own_buttons_do(self, page: Page, server: Any) -> None:
        row = page.get_by_role("treeitem").get_by_text("web", exact=True)
        row.click(button="right")
        menu = page.get_by_role("menu", name="Actions for web")
        expect(menu.get_by_role("menuitem")).to_have_text(
            [
                *("Start", "Shutdown", "Reboot", "Stop", "Reset", "Migrate…"),
                *("Hibernate", "Clone…", "Convert to template…", "Remove…"),
            ]
        )
        expect(menu.get_by_role("menuitem", name="Start")).to_be_disabled()
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
        row.click(button="right")
        menu.get_by_role("menuitem", name="Reset").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Reset 100 web?")
        submit(dialog, "Reset")
        expect(page.get_by_role("log")).to_contain_text("TASK OK")
        assert changes(server) == [("POST", "/nodes/pve/qemu/100/status/reset", {})]

    def test_it_opens_by_the_keyboard_and_says_what_was_refused(self, page: Page) -> None:
        row = page.get_by_role("treeitem").filter(has_text="archive")
        row.focus()
        row.dispatch_event("contextmenu")
        menu = page.get_by_role("menu", name="Actions for archive")
        expect(menu.get_by_role("menuitem", name="Start")).to_be_focused()
        page.keyboard.press("Enter")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("120 archive: Start was refused")
        expect(alert).to_contain_text("storage 'tank' is not available")

    def test_without_quorum_nothing_in_it_can_be_chosen(self, page: Page, server: Any) -> None:
        server.world.online -= {"pve2", "pve3"}
        expect(page.locator(".kv-banners")).to_contain_text("No quorum")
        page.get_by_role("treeitem").get_by_text("web", exact=True).click(button="right")
        for item in page.get_by_role("menuitem").all():
            expect(item).to_be_disabled()
