"""The page as an admin uses it, in a real browser, over the fake API."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

LOGIN = re.compile("Log in")


def changes(server: Any) -> list[tuple[str, str, dict[str, str]]]:
    """What the page asked to be changed, logins left out."""
    return [request for request in server.world.requests if request[1] != "/access/ticket"]


def choose_guest(page: Page, name: str) -> None:
    page.get_by_role("treeitem").get_by_text(name, exact=True).click()
    expect(page.locator("#main h1")).to_contain_text(name)


def press(page: Page, name: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name=name).click()


class TestLogin:
    def test_a_wrong_password_shows_the_servers_sentence_and_the_right_one_gets_in(
        self, open_page: Any, server: Any
    ) -> None:
        page = open_page()
        page.locator("#password").fill("wrong")
        page.get_by_role("button", name=LOGIN).click()
        expect(page.get_by_role("alert")).to_contain_text("authentication failure")
        expect(page.locator("#password")).to_have_value("")
        page.locator("#password").fill("kvorum")
        page.get_by_role("button", name=LOGIN).click()
        expect(page.get_by_role("treeitem")).to_have_count(9)
        verb, path, form = server.world.requests[-1]
        assert (verb, path) == ("POST", "/access/ticket")
        assert form == {"username": "root@pam", "password": "kvorum"}

    def test_the_realms_come_from_the_server_and_are_used(self, open_page: Any, server: Any) -> None:
        page = open_page()
        expect(page.locator("#realm option")).to_have_text(["Linux PAM", "Kvorum"])
        page.locator("#realm").select_option("pve")
        page.locator("#username").fill("anna")
        page.locator("#password").fill("kvorum")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Menu of anna@pve")).to_be_visible()

    def test_the_cookie_is_the_known_one_and_a_reload_stays_logged_in(
        self, open_page: Any, logged_in: Any
    ) -> None:
        page = logged_in(open_page())
        (cookie,) = page.context.cookies()
        assert cookie["name"] == "PVEAuthCookie"
        assert cookie["value"].startswith("PVE%3Aroot%40pam%3A")
        assert (cookie["sameSite"], cookie["secure"]) == ("Strict", True)
        page.reload()
        expect(page.get_by_role("treeitem").first).to_be_visible()
        expect(page.locator("#password")).to_have_count(0)

    def test_a_refused_ticket_leads_back_to_the_login_with_the_reason(self, page: Page, server: Any) -> None:
        server.world.expired = True
        expect(page.get_by_role("alert")).to_contain_text("permission denied - invalid PVE ticket")
        expect(page.locator("#password")).to_be_visible()
        assert page.context.cookies() == []

    def test_logging_out_forgets_the_ticket(self, page: Page) -> None:
        page.get_by_role("button", name="Menu of root@pam").click()
        page.get_by_role("menuitem", name="Log out").click()
        expect(page.locator("#password")).to_be_visible()
        assert page.context.cookies() == []


class TestTree:
    def test_it_shows_nodes_and_their_guests_with_their_states(self, page: Page) -> None:
        rows = page.get_by_role("treeitem")
        expect(rows).to_have_text(
            [
                re.compile("Datacenter.*home"),
                re.compile("online.*pve.*2"),
                re.compile("running.*100.*web"),
                re.compile("running.*101.*database"),
                re.compile("online.*pve2.*2"),
                re.compile("stopped.*102.*mail"),
                re.compile("running.*110.*build"),
                re.compile("online.*pve3.*1"),
                re.compile("stopped.*120.*archive"),
            ]
        )

    def test_the_keyboard_walks_folds_and_opens_it(self, page: Page) -> None:
        rows = page.get_by_role("treeitem")
        rows.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        expect(rows).to_have_count(7)
        page.keyboard.press("ArrowRight")
        expect(rows).to_have_count(9)
        page.keyboard.press("ArrowRight")
        expect(rows.nth(2)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main h1")).to_contain_text("web")

    def test_a_new_state_is_seen_without_a_click(self, page: Page, server: Any) -> None:
        server.world.guests[102]["status"] = "running"
        row = page.get_by_role("treeitem").filter(has_text="mail")
        expect(row.locator("[data-state=running]")).to_be_visible()

    def test_search_finds_a_guest_by_part_of_its_name(self, page: Page) -> None:
        page.keyboard.press("/")
        page.keyboard.type("arch")
        expect(page.get_by_role("option")).to_have_count(1)
        page.keyboard.press("Enter")
        expect(page.locator("#main h1")).to_contain_text("archive")


class TestStorage:
    def test_it_stands_under_its_node_with_its_room(self, page: Page, server: Any) -> None:
        server.world.storages = {"local": True, "usb": False}
        row = page.get_by_role("treeitem").filter(has_text="local")
        expect(row).to_contain_text("available")
        row.get_by_text("local", exact=True).click()
        expect(page.locator("#main")).to_contain_text("30 GiB of 100 GiB")
        expect(page.locator("#main")).to_contain_text("images, iso")
        page.get_by_role("treeitem").get_by_text("usb", exact=True).click()
        expect(page.get_by_role("main")).to_contain_text("pve does not say how storage usb is.")
        page.get_by_role("treeitem").get_by_text("pve", exact=True).click()
        expect(page.get_by_role("region", name="Storages").get_by_role("row")).to_have_count(3)


class TestDatacenter:
    def test_it_explains_quorum_and_lists_the_nodes(self, page: Page) -> None:
        card = page.get_by_role("region", name="Quorum")
        expect(card).to_contain_text("Any one of the 3 nodes online may fail")
        row = page.get_by_role("row").filter(has_text="10.0.0.2")
        expect(row).to_contain_text("pve2")
        expect(row).to_contain_text("14 % of 8 CPUs")
        expect(row).to_contain_text("16 GiB of 32 GiB")

    def test_its_tabs_have_addresses_and_show_members_and_all_guests(self, page: Page) -> None:
        tabs = page.get_by_role("navigation", name="Views of this place")
        tabs.get_by_role("tab", name="Cluster").click()
        expect(page).to_have_url(re.compile("#/datacenter/cluster$"))
        members = page.get_by_role("region", name="Cluster Nodes")
        expect(members.get_by_role("row").filter(has_text="pve2")).to_contain_text("10.0.0.2")
        tabs.get_by_role("tab", name="Guests").click()
        expect(page.get_by_role("region", name="Guests").get_by_role("row")).to_have_count(6)
        page.go_back()
        expect(members).to_be_visible()

    def test_without_quorum_a_banner_says_why_and_actions_are_refused(self, page: Page, server: Any) -> None:
        choose_guest(page, "web")
        server.world.online -= {"pve2", "pve3"}
        banner = page.locator(".kv-banners")
        expect(banner).to_contain_text("No quorum: this part of the cluster is read-only.")
        expect(banner).to_contain_text("1 of 3 votes are present, 2 are needed.")
        expect(banner).to_contain_text("Switch on: pve2 or pve3.")
        button = page.get_by_role("toolbar").get_by_role("button", name="Stop")
        expect(button).to_have_attribute("aria-disabled", "true")
        button.hover()
        expect(page.get_by_role("tooltip")).to_contain_text("No quorum")
        server.world.online |= {"pve2"}
        expect(banner).to_be_empty()

    def test_a_node_shows_its_status_and_an_offline_one_says_so(self, page: Page, server: Any) -> None:
        page.get_by_role("treeitem").get_by_text("pve3", exact=True).click()
        expect(page.get_by_role("region", name="Status")).to_contain_text("AMD Ryzen 7 5700G")
        expect(page.get_by_role("region", name="Guests")).to_contain_text("archive")
        server.world.online -= {"pve3"}
        expect(page.locator("#main")).to_contain_text("pve3 is offline")


class TestGuest:
    def test_it_shows_status_and_configuration(self, page: Page) -> None:
        choose_guest(page, "web")
        expect(page.get_by_role("region", name="Status")).to_contain_text("1.3 GiB of 2 GiB")
        config = page.get_by_role("region", name="Configuration")
        expect(config).to_contain_text("virtio=BC:24:11:5A:10:4F,bridge=vmbr0")
        expect(page.get_by_role("region", name="Notes")).to_contain_text("family's photos")

    def test_start_runs_a_task_whose_log_is_shown(self, page: Page, server: Any) -> None:
        choose_guest(page, "mail")
        press(page, "Start")
        log = page.get_by_role("log")
        expect(log).to_contain_text("start VM 102")
        expect(log).to_contain_text("TASK OK")
        expect(page.locator(".kv-head .kv-state")).to_have_text("running")
        assert changes(server) == [("POST", "/nodes/pve2/qemu/102/status/start", {})]

    @pytest.mark.parametrize(
        ("action", "then"),
        [("Shutdown", "stopped"), ("Reboot", "running"), ("Stop", "stopped"), ("Reset", "running")],
    )
    def test_going_down_asks_first(self, page: Page, server: Any, action: str, then: str) -> None:
        choose_guest(page, "web")
        press(page, action)
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
        assert changes(server) == []
        press(page, action)
        dialog.get_by_role("button", name=action, exact=True).click()
        expect(page.get_by_role("log")).to_contain_text("TASK OK")
        expect(page.locator(".kv-head .kv-state")).to_have_text(then)
        assert changes(server) == [("POST", f"/nodes/pve/qemu/100/status/{action.lower()}", {})]

    def test_a_refusal_is_shown_in_the_servers_words(self, page: Page) -> None:
        choose_guest(page, "archive")
        press(page, "Start")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("Start was refused")
        expect(alert).to_contain_text("storage 'tank' is not available on node 'pve3'")


class TestMigrate:
    def test_a_running_guest_moves_online_and_the_view_follows_it(self, page: Page, server: Any) -> None:
        choose_guest(page, "web")
        press(page, "Migrate…")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("radio", name="Online", exact=True)).to_be_checked()
        dialog.get_by_label("pve3", exact=True).check()
        dialog.get_by_role("button", name="Migrate", exact=True).click()
        expect(page.get_by_role("log")).to_contain_text("measured downtime 12 ms")
        expect(page.locator(".kv-head")).to_contain_text("on pve3")
        form = {"target": "pve3", "online": "1"}
        assert changes(server) == [("POST", "/nodes/pve/qemu/100/migrate", form)]

    def test_a_stopped_guest_moves_offline_and_never_to_a_node_that_is_off(
        self, page: Page, server: Any
    ) -> None:
        server.world.online -= {"pve3"}
        choose_guest(page, "mail")
        expect(page.get_by_role("treeitem").filter(has_text="pve3")).to_contain_text("offline")
        press(page, "Migrate…")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("pve3", exact=True)).to_be_disabled()
        dialog.get_by_role("button", name="Migrate", exact=True).click()
        expect(page.get_by_role("log")).to_contain_text("TASK OK")
        assert changes(server) == [("POST", "/nodes/pve2/qemu/102/migrate", {"target": "pve"})]


class TestTasks:
    def test_a_running_task_shows_its_progress_and_can_be_stopped(self, page: Page, server: Any) -> None:
        server.world.hold_at = 3
        choose_guest(page, "web")
        press(page, "Migrate…")
        page.get_by_role("dialog").get_by_role("button", name="Migrate", exact=True).click()
        drawer = page.get_by_role("region", name="Tasks", exact=True)
        expect(drawer.get_by_role("progressbar")).to_be_visible()
        drawer.get_by_role("button", name="Stop task").click()
        expect(page.get_by_role("log")).to_contain_text("TASK ERROR: received interrupt")
        (_, path, _), stop = changes(server)
        assert path == "/nodes/pve/qemu/100/migrate"
        assert stop[0] == "DELETE"

    def test_the_list_says_how_tasks_ended_and_a_click_opens_the_log(self, page: Page) -> None:
        page.get_by_role("button", name="Open the task list").click()
        drawer = page.get_by_role("region", name="Tasks", exact=True)
        expect(drawer.get_by_role("row").filter(has_text="Start VM 120")).to_contain_text("no space left")
        drawer.get_by_role("button", name="Start VM 120").click()
        expect(page.get_by_role("log")).to_contain_text("TASK ERROR: no space left")


class TestLooks:
    def test_german_by_the_browsers_language_and_english_by_choice(
        self, open_page: Any, logged_in: Any
    ) -> None:
        page = logged_in(open_page(locale="de-DE"))
        expect(page.locator("#main h1")).to_have_text("Rechenzentrum")
        assert page.locator("html").get_attribute("lang") == "de"
        page.get_by_role("button", name="Menü von root@pam").click()
        page.get_by_role("menuitem", name="English").click()
        expect(page.locator("#main h1")).to_have_text("Datacenter")
        page.reload()
        expect(page.locator("#main h1")).to_have_text("Datacenter")

    def test_dark_by_the_systems_choice_and_light_by_ours(self, open_page: Any, logged_in: Any) -> None:
        page = logged_in(open_page(dark=True))
        expect(page.locator("html")).to_have_class(re.compile("pf-v6-theme-dark"))
        assert brightness(page) < 60
        page.get_by_role("button", name="Menu of root@pam").click()
        page.get_by_role("menuitem", name="Light").click()
        expect(page.locator("html")).not_to_have_class(re.compile("pf-v6-theme-dark"))
        assert brightness(page) > 200

    def test_on_a_phone_the_tree_is_a_drawer_and_nothing_sticks_out(
        self, open_page: Any, logged_in: Any
    ) -> None:
        page = logged_in(open_page(390))
        tree = page.get_by_role("tree")
        expect(tree).to_be_hidden()
        page.get_by_role("button", name="Nodes and guests").click()
        expect(tree).to_be_visible()
        choose_guest(page, "database")
        expect(tree).to_be_hidden()
        expect(page.get_by_role("region", name="Configuration")).to_contain_text("scsi0")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.getElementById('main').scrollWidth") <= 390


def brightness(page: Page) -> float:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(float, re.findall(r"[\d.]+", color)[:3])
    return (red + green + blue) / 3


def test_a_guest_that_has_just_moved_is_no_error(page: Page, server: Any) -> None:
    """The list of all guests may name its old node for a moment, which no longer has it."""
    choose_guest(page, "web")
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("scsi0")
    world = server.world
    with page.expect_response(lambda answer: answer.status == 500 and "/100/" in answer.url):
        world.listed_on[100] = "pve"
        world.guests[100]["node"] = "pve2"
    expect(page.get_by_role("main").get_by_text("does not exist")).to_have_count(0)
    world.listed_on.clear()
    expect(page.locator(".kv-head")).to_contain_text("on pve2")
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("scsi0")
    expect(page.get_by_role("main").get_by_text("does not exist")).to_have_count(0)


def test_nothing_is_fetched_from_elsewhere_and_the_browser_has_nothing_to_complain_about(
    open_page: Any, server: Any, complaints: Any, logged_in: Any
) -> None:
    page = open_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.reload()
    logged_in(page)
    choose_guest(page, "web")
    press(page, "Stop")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Open the task list").click()
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("scsi0")
    assert [url for url in urls if not url.startswith(server.address)] == []
    assert complaints.all == []


def test_a_server_that_stops_answering_leaves_the_last_state_and_says_so(page: Page, server: Any) -> None:
    page.route("**/api2/**", lambda route: route.abort())
    server.world.events = "cut"
    expect(page.locator(".kv-banners")).to_contain_text("No answer from the server")
    expect(page.get_by_role("treeitem")).to_have_count(9)
    started = time.monotonic()
    server.world.events = "told"
    page.unroute("**/api2/**")
    expect(page.locator(".kv-banners")).to_be_empty()
    assert time.monotonic() - started < 8
