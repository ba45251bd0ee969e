"""A node's network on the page: made and changed by forms, shown as a difference, applied and taken back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from conftest import FakeServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def network(page: Page) -> Page:
    page.goto(re.sub(r"#.*", "", page.url) + "#/node/pve/network")
    expect(page.get_by_role("heading", name="Interfaces")).to_be_visible()
    return page


def row(page: Page, name: str) -> Locator:
    header = page.get_by_role("rowheader", name=name, exact=True)
    return page.locator(".kv-interfaces tbody tr").filter(has=header)


def ask(page: Page, name: str, what: str) -> None:
    page.get_by_role("button", name=f"Actions of {name}").click()
    page.get_by_role("menuitem", name=what).click()


def sent(server: FakeServer, path: str) -> list[tuple[str, dict[str, str]]]:
    return [(verb, form) for verb, where, form in server.world.requests if where == path]


def test_interfaces_are_listed_with_what_they_are_made_of(network: Page) -> None:
    bridge = row(network, "vmbr0")
    for words in ("Bridge", "eno9", "uplink", "yes"):
        expect(bridge).to_contain_text(words)
    expect(row(network, "eno1")).to_contain_text("10.0.0.9/24")
    expect(network.get_by_text("Waits to be applied")).to_have_count(0)


def test_a_bridge_is_made_shown_as_a_difference_and_applied_with_the_pages_confirmation(
    network: Page, server: FakeServer
) -> None:
    network.get_by_role("button", name="Create", exact=True).click()
    network.get_by_role("menuitem", name="Bridge").click()
    expect(network.get_by_label("Name", exact=True)).to_have_value("vmbr1")
    network.get_by_label("IPv4 address").fill("192.0.2.5/24")
    network.get_by_label("VLAN aware").check()
    network.get_by_label("VLANs that pass").fill("2-100")
    network.get_by_role("dialog").get_by_role("button", name="Create").click()
    expect(row(network, "vmbr1")).to_contain_text("192.0.2.5/24")
    assert sent(server, "/nodes/pve/network") == [
        ("POST", {"type": "bridge", "autostart": "1", "cidr": "192.0.2.5/24", "iface": "vmbr1"}
         | {"bridge_vlan_aware": "1", "bridge_vids": "2-100"}),
    ]  # fmt: skip
    expect(network.locator(".kv-diff [data-tone=added]").first).to_have_text("+iface vmbr1 inet static")
    network.get_by_role("button", name="Apply configuration").click()
    network.get_by_role("dialog").get_by_role("button", name="Apply configuration").click()
    expect(network.get_by_text("it is checked whether the node is reachable")).to_be_visible()
    expect(network.get_by_text("The new configuration is in force.")).to_be_visible()
    assert server.world.network.confirmed >= 1
    network.get_by_role("dialog").get_by_role("contentinfo").get_by_role("button", name="Close").click()
    expect(network.locator(".kv-diff")).to_have_count(0)


def test_a_page_that_does_not_come_through_is_told_that_the_old_configuration_is_back(
    network: Page, server: FakeServer
) -> None:
    server.world.network.reachable = False
    ask(network, "vmbr0", "Remove")
    network.get_by_role("dialog").get_by_role("button", name="Remove").click()
    network.get_by_role("button", name="Apply configuration").click()
    network.get_by_role("dialog").get_by_role("button", name="Apply configuration").click()
    expect(network.get_by_role("alert")).to_contain_text(
        "the old configuration is back and the change still waits"
    )
    expect(network.locator(".kv-diff")).to_be_visible()


def test_an_interface_is_changed_and_what_was_emptied_goes(network: Page, server: FakeServer) -> None:
    ask(network, "vmbr0", "Edit")
    network.get_by_label("Comment").fill("")
    network.get_by_label("MTU").fill("9000")
    network.get_by_role("dialog").get_by_role("button", name="OK").click()
    expect(network.locator(".kv-diff")).to_be_visible()
    assert sent(server, "/nodes/pve/network/vmbr0") == [
        (
            "PUT",
            {"type": "bridge", "autostart": "1", "bridge_ports": "eno9", "mtu": "9000", "delete": "comments"},
        )
    ]
    network.get_by_role("button", name="Take back").click()
    expect(network.locator(".kv-diff")).to_have_count(0)
    expect(row(network, "vmbr0")).to_contain_text("uplink")


def test_what_the_server_says_of_a_field_stands_at_it(network: Page, server: FakeServer) -> None:
    server.world.refuse_settings = {"slaves": "'eno1' is a part of 'vmbr0' already"}
    network.get_by_role("button", name="Create", exact=True).click()
    network.get_by_role("menuitem", name="Bond").click()
    network.get_by_label("Network cards").fill("eno1 eno2")
    network.get_by_role("dialog").get_by_role("button", name="Create").click()
    expect(network.locator("#slaves-help")).to_contain_text("'eno1' is a part of 'vmbr0' already")
    assert sent(server, "/nodes/pve/network")[0][1]["bond_mode"] == "balance-rr"


def test_a_vlan_has_a_device_and_a_tag_also_in_german_on_a_phone(
    open_page: object, logged_in: object, server: FakeServer
) -> None:
    phone = logged_in(open_page(390, locale="de-DE"))  # type: ignore[operator]
    phone.goto(server.address + "#/node/pve/network")
    phone.get_by_role("button", name="Anlegen", exact=True).click()
    phone.get_by_role("menuitem", name="VLAN").click()
    phone.get_by_label("Name", exact=True).fill("vmbr0.5")
    phone.get_by_role("dialog").get_by_role("button", name="Anlegen").click()
    expect(row(phone, "vmbr0.5")).to_contain_text("vmbr0 · 5")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "only the table scrolls"
