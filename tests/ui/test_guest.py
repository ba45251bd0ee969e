"""A guest's tabs and the wizard, in a real browser, over the fake API."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fake_guests import COLOUR, HEIGHT, WIDTH
from playwright.sync_api import Page, expect

PIXEL = f"""() => {{
  const copy = document.createElement("canvas").getContext("2d", {{ willReadFrequently: true }});
  copy.drawImage(document.querySelector("canvas"), {WIDTH // 2}, {HEIGHT // 2}, 1, 1, 0, 0, 1, 1);
  return [...copy.getImageData(0, 0, 1, 1).data];
}}"""


def visit(page: Page, place: str) -> None:
    page.evaluate(f"location.hash = '#/guest/{place}'")


def last(server: Any) -> tuple[str, str, dict[str, str]]:
    """What the page asked to be changed last."""
    request: tuple[str, str, dict[str, str]] = server.world.requests[-1]
    return request


def inside(server: Any) -> Any:
    """The settings and snapshots of guest 100."""
    return server.world.inside_of(100, server.world.guests[100])


def row(page: Page, name: str) -> Any:
    return page.get_by_role("row", name=re.compile(name))


def choose(page: Page, part: str, what: str) -> None:
    """A part's menu."""
    page.get_by_role("button", name=f"Actions for {part}").click()
    page.get_by_role("menuitem", name=what).click()


def add(page: Page, what: str) -> None:
    page.get_by_role("region", name="Hardware").get_by_role("button", name="Add").click()
    page.get_by_role("menuitem", name=what, exact=True).click()


def press(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


class TestConsole:
    def test_the_display_is_shown_and_keys_reach_the_guest(self, page: Page, server: Any) -> None:
        visit(page, "100/console")
        screen = page.get_by_role("region", name="Display of 100 web")
        expect(screen.get_by_role("status")).to_have_text("Connected")
        wait_until(page, lambda: page.evaluate(PIXEL) == [*COLOUR, 255])
        screen.get_by_role("button", name="Ctrl-Alt-Del").click()
        pressed = [(0xFFE3, True), (0xFFE9, True), (0xFFFF, True)]
        wait_until(page, lambda: server.world.consoles.keys[:3] == pressed)
        assert [down for _, down in server.world.consoles.keys] == [True] * 3 + [False] * 3
        screen.get_by_role("button", name="Keys").click()
        page.get_by_role("menuitem", name="Ctrl-Alt-F2").click()
        wait_until(page, lambda: (0xFFBF, True) in server.world.consoles.keys)
        with page.expect_download() as download:
            screen.get_by_role("link", name="Picture").click()
        assert download.value.suggested_filename == "vm-100.png"

    def test_why_it_ended_is_said_and_it_can_be_opened_anew(self, page: Page, server: Any) -> None:
        visit(page, "100/console")
        screen = page.get_by_role("region", name="Display of 100 web")
        expect(screen.get_by_role("status")).to_have_text("Connected")
        server.world.consoles.close_with = "VM 100 has moved to node 'pve2': open its console anew"
        expect(screen.get_by_role("alert")).to_contain_text("has moved to node 'pve2'")
        server.world.consoles.close_with = ""
        screen.get_by_role("button", name="Reconnect").click()
        expect(screen.get_by_role("status")).to_have_text("Connected")

    def test_a_refusal_is_the_servers_sentence(self, page: Page, server: Any) -> None:
        server.world.consoles.refuse = "VM 100 was started by a version without consoles"
        visit(page, "100/console")
        expect(page.get_by_role("alert")).to_contain_text("a version without consoles")

    def test_a_display_by_spice_has_a_file_for_its_viewer(self, page: Page, server: Any) -> None:
        visit(page, "100/console")
        screen = page.get_by_role("region", name="Display of 100 web")
        expect(screen.get_by_role("status")).to_have_text("Connected")
        expect(screen.get_by_role("button", name="SPICE")).to_have_count(0)
        inside(server).settings["vga"] = "type=qxl2,memory=32"
        page.reload()
        with page.expect_download() as download:
            screen.get_by_role("button", name="SPICE").click()
        assert download.value.suggested_filename == "vm-100.vv"
        assert "proxy=http://127.0.0.1:3128\n" in download.value.path().read_text()
        expect(screen.get_by_role("status")).to_have_text("Connected")
        server.world.consoles.refuse = "VM 100: no SPICE session can be had"
        screen.get_by_role("button", name="SPICE").click()
        expect(screen.get_by_role("alert")).to_have_text("VM 100: no SPICE session can be had")

    def test_a_serial_port_is_a_terminal(self, page: Page, server: Any) -> None:
        visit(page, "100/console")
        expect(page.get_by_role("status").get_by_text("Connected")).to_be_visible()
        page.get_by_role("button", name="Serial port 0").click()
        screen = page.get_by_role("region", name="Terminal of 100 web")
        expect(screen.locator(".xterm-rows")).to_contain_text("login:")
        page.keyboard.type("anna\r")
        wait_until(page, lambda: server.world.consoles.typed == "anna\r")
        assert (
            screen.locator(".xterm-rows").evaluate("rows => getComputedStyle(rows.firstChild).height")
            != "auto"
        )
        visit(page, "100/hardware")
        expect(row(page, "Memory")).to_be_visible()
        wait_until(page, lambda: server.world.consoles.open == 0)

    def test_a_guest_that_is_off_is_started_from_there(self, page: Page, server: Any) -> None:
        visit(page, "102/console")
        expect(page.get_by_text("has nothing to show")).to_be_visible()
        page.locator(".kv-empty").get_by_role("button", name="Start").click()
        expect(page.get_by_role("region", name="Display of 102 mail")).to_be_visible()

    def test_a_nodes_shell_is_a_terminal(self, page: Page, server: Any) -> None:
        page.evaluate("location.hash = '#/node/pve/shell'")
        expect(page.get_by_role("region", name="Terminal of pve").locator(".xterm-rows")).to_contain_text(
            "login:"
        )


def wait_until(page: Page, met: Any, deadline_ms: int = 10_000) -> None:
    """Let the browser go on until something holds at the server."""
    for _ in range(deadline_ms // 50):
        if met():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come about")


class TestHardware:
    def test_what_waits_for_the_next_start_is_shown_and_taken_back(self, page: Page, server: Any) -> None:
        visit(page, "100/hardware")
        choose(page, "Processors", "Edit")
        page.locator("#cores").fill("4")
        press(page, "OK")
        expect(row(page, "Processors")).to_contain_text("4 (1 socket, 4 cores)")
        assert last(server) == (
            "PUT", "/nodes/pve/qemu/100/config", {"cores": "4"})  # fmt: skip
        row(page, "Processors").get_by_role("button", name="Revert").click()
        expect(row(page, "Processors").locator(".kv-after")).to_have_count(0)
        assert last(server)[2] == {"revert": "cores"}

    def test_a_disk_is_added_enlarged_detached_and_destroyed(self, page: Page, server: Any) -> None:
        visit(page, "100/hardware")
        add(page, "Disk")
        page.locator("#storage").select_option("local")
        page.locator("#gib").fill("4")
        page.locator("#format").select_option("raw")
        press(page, "OK")
        expect(row(page, "Disk scsi1")).to_contain_text("4 GiB")
        assert {"scsi1": "local:4,format=raw,discard=on,ssd=1"} in [r[2] for r in server.world.requests]
        choose(page, "Disk scsi1", "Enlarge…")
        page.locator("#size").fill("2")
        press(page, "Enlarge…")
        expect(row(page, "Disk scsi1")).to_contain_text("6 GiB")
        choose(page, "Disk scsi1", "Detach")
        press(page, "Detach")
        expect(row(page, "Unused disk unused0")).to_contain_text("local:1/vm-1-scsi1.qcow2")
        choose(page, "Unused disk unused0", "Destroy")
        press(page, "Destroy")
        expect(row(page, "Unused disk")).to_have_count(0)

    def test_a_card_is_added_with_what_was_chosen(self, page: Page, server: Any) -> None:
        visit(page, "100/hardware")
        add(page, "Network card")
        page.locator("#bridge").select_option("vmbr0")
        page.locator("#tag").fill("7")
        page.get_by_label("Cable unplugged").check()
        press(page, "OK")
        expect(row(page, "Network card net1")).to_contain_text("on vmbr0, VLAN 7, cable unplugged")
        assert last(server)[2] == {"net1": "virtio,bridge=vmbr0,tag=7,link_down=1"}

    def test_an_image_is_put_into_the_cd_drive(self, page: Page, server: Any) -> None:
        visit(page, "100/hardware")
        choose(page, "CD drive ide2", "Edit")
        page.locator("#storage-iso").select_option("local")
        page.locator("#image").select_option("local:iso/debian-13.iso")
        press(page, "OK")
        expect(row(page, "CD drive ide2")).to_contain_text("local:iso/debian-13.iso")
        assert last(server)[2] == {"ide2": "local:iso/debian-13.iso,media=cdrom"}

    def test_what_is_wrong_stands_at_its_field(self, page: Page, server: Any) -> None:
        visit(page, "100/hardware")
        choose(page, "Memory", "Edit")
        server.world.refuse_settings = {"memory": "'3' is no amount of memory; 16 to 4178944 are allowed"}
        page.locator("#memory").fill("3")
        press(page, "OK")
        expect(page.locator("#memory-help")).to_contain_text("no amount of memory")
        expect(page.locator("#memory")).to_have_attribute("aria-invalid", "true")


class TestOptions:
    def test_names_flags_and_the_boot_order_are_changed(self, page: Page, server: Any) -> None:
        visit(page, "100/options")
        page.get_by_role("button", name="Edit: Name").click()
        page.locator("#name").fill("shop")
        press(page, "OK")
        expect(row(page, "^Name")).to_contain_text("shop")
        page.get_by_role("button", name="Edit: Start with the node").click()
        page.get_by_role("dialog").get_by_label("Start with the node").check()
        press(page, "OK")
        expect(row(page, "Start with the node")).to_contain_text("yes")
        page.get_by_role("button", name="Edit: Boot order").click()
        page.get_by_role("dialog").get_by_label("net0", exact=True).check()
        page.get_by_role("button", name="net0 earlier").click()
        page.get_by_role("button", name="net0 earlier").click()
        press(page, "OK")
        expect(row(page, "Boot order")).to_contain_text("net0, scsi0")
        changes = [form for verb, _, form in server.world.requests if verb == "PUT"]
        assert changes == [{"name": "shop"}, {"onboot": "1"}, {"boot": "order=net0;scsi0"}]


class TestSnapshots:
    def test_one_is_taken_described_rolled_back_to_and_deleted(self, page: Page, server: Any) -> None:
        visit(page, "100/snapshots")
        page.get_by_role("button", name="Take snapshot").click()
        page.locator("#snapname").fill("1st")
        expect(page.locator("#snapname-help")).to_contain_text("A letter")
        page.locator("#snapname").fill("before")
        page.locator("#description").fill("clean")
        press(page, "Take snapshot")
        expect(row(page, "before")).to_contain_text("clean")
        asked = {"snapname": "before", "description": "clean", "vmstate": "1"}
        assert ("POST", "/nodes/pve/qemu/100/snapshot", asked) in server.world.requests
        page.get_by_role("button", name="Describe before").click()
        page.locator("#description").fill("very clean")
        press(page, "OK")
        expect(row(page, "before")).to_contain_text("very clean")
        page.get_by_role("button", name="Roll back to before").click()
        press(page, "Roll back")
        page.get_by_role("button", name="Delete before").click()
        press(page, "Delete")
        expect(page.get_by_text("There is no snapshot yet.")).to_be_visible()

    def test_a_name_that_is_taken_is_said_at_its_field(self, page: Page, server: Any) -> None:
        inside(server).snapshot("before", "", False)
        visit(page, "100/snapshots")
        page.get_by_role("button", name="Take snapshot").click()
        page.locator("#snapname").fill("before")
        press(page, "Take snapshot")
        expect(page.locator("#snapname-help")).to_contain_text("there is a snapshot 'before' already")


class TestWizard:
    def test_a_guest_is_made_and_started(self, page: Page, server: Any) -> None:
        page.get_by_role("button", name="Create VM").click()
        expect(page.locator("#vmid")).to_have_value("103")
        page.locator("#name").fill("new")
        press(page, "Next")
        page.locator("#storage-iso").select_option("local")
        expect(page.get_by_role("dialog").get_by_role("button", name="Next")).to_be_disabled()
        page.locator("#image").select_option("local:iso/debian-13.iso")
        press(page, "Next")
        page.locator("#scsi0-storage").select_option("shared")
        page.locator("#scsi0-gib").fill("8")
        for _ in range(4):
            press(page, "Next")
        page.get_by_label("Start it once it is made").check()
        press(page, "Create")
        expect(page.locator("#main h1")).to_contain_text("new")
        verb, path, form = next(r for r in server.world.requests if r[1].endswith("/qemu"))
        assert (verb, path) == ("POST", "/nodes/pve/qemu")
        assert form == {
            "vmid": "103", "name": "new", "ostype": "l26", "agent": "1", "scsihw": "virtio-scsi-single",
            "ide2": "local:iso/debian-13.iso,media=cdrom", "scsi0": "shared:8,discard=on,ssd=1",
            "sockets": "1", "cores": "2", "memory": "2048", "net0": "virtio,bridge=vmbr0",
            "boot": "order=scsi0;ide2;net0", "start": "1",
        }  # fmt: skip

    def test_what_the_server_refuses_is_shown_in_its_step(self, page: Page, server: Any) -> None:
        server.world.refuse_settings = {"cores": "'0' is not a whole number from 1 to 4096"}
        page.get_by_role("button", name="Create VM").click()
        expect(page.locator("#vmid")).to_have_value("103")
        press(page, "Next")
        press(page, "Next")
        page.locator("#scsi0-storage").select_option("shared")
        for _ in range(4):
            press(page, "Next")
        press(page, "Create")
        expect(page.locator("#cores-help")).to_contain_text("from 1 to 4096")
        expect(page.get_by_role("dialog").locator("[aria-current=step]")).to_have_text("CPU")


class TestWhole:
    def test_a_guest_is_cloned_made_a_template_and_removed(self, page: Page, server: Any) -> None:
        visit(page, "102")
        more(page, "Clone…")
        expect(page.locator("#newid")).to_have_value("103")
        page.locator("#clonename").fill("copy")
        press(page, "Clone")
        expect(page.get_by_role("treeitem").get_by_text("copy", exact=True)).to_be_visible()
        visit(page, "103")
        more(page, "Convert to template…")
        press(page, "Convert")
        expect(page.locator("#main .kv-state").first).to_have_text("template")
        more(page, "Remove…")
        expect(page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True)).to_be_disabled()
        page.locator("#typed").fill("103")
        press(page, "Remove")
        expect(page.get_by_role("treeitem").get_by_text("copy", exact=True)).to_have_count(0)
        assert last(server)[:2] == ("DELETE", "/nodes/pve2/qemu/103")

    def test_a_guest_that_becomes_a_template_while_it_is_asked_is_cloned_linked(
        self, page: Page, server: Any
    ) -> None:
        visit(page, "102")
        more(page, "Clone…")
        expect(page.locator("#newid")).to_have_value("103")
        server.world.guests[102]["template"] = 1
        expect(page.locator("#full")).not_to_be_checked()
        press(page, "Clone")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert last(server)[2]["full"] == "0"


def more(page: Page, what: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name=what).click()


@pytest.mark.parametrize("tab", ["console", "hardware", "options", "snapshots"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    open_page: Any, logged_in: Any, server: Any, tab: str
) -> None:
    inside(server).snapshot("before-the-update-of-everything", "a long description of it", True)
    page = logged_in(open_page(390, locale="de-DE", dark=True))
    visit(page, f"100/{tab}")
    expect(page.locator("#main .kv-screen, #main .kv-panel").first).to_be_visible()
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('#main').scrollWidth <= innerWidth")
