"""What is made for a guest beside disks, disks that move, and cloud-init, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from test_guest import add, choose, inside, last, press, row, visit

pytestmark = pytest.mark.timeout(60)


def pick(page: Page, label: str, value: str) -> None:
    page.get_by_role("dialog").get_by_label(label, exact=True).select_option(value)


@pytest.mark.parametrize(
    ("what", "key", "value"),
    [
        ("EFI disk", "efidisk0", "shared:1,efitype=4m"),
        ("TPM", "tpmstate0", "shared:1,version=v2.0"),
        ("Random numbers", "rng0", "source=/dev/urandom,max_bytes=1024,period=1000"),
        ("Cloud-init drive", "ide0", "shared:cloudinit"),
    ],
)
def test_parts_are_made_by_a_task(page: Page, server: Any, what: str, key: str, value: str) -> None:
    visit(page, "100/hardware")
    add(page, what)
    if what != "Random numbers":
        pick(page, "Storage", "shared")
    press(page, "Add")
    expect(row(page, key)).to_be_visible()
    assert last(server) == ("POST", "/nodes/pve/qemu/100/config", {key: value})
    page.get_by_role("region", name="Hardware").get_by_role("button", name="Add").click()
    expect(page.get_by_role("menuitem", name=what)).to_have_count(0)


def test_an_image_is_imported_as_a_disk(page: Page, server: Any) -> None:
    visit(page, "100/hardware")
    add(page, "Imported disk")
    pick(page, "Image", "local:import/old.vmdk")
    pick(page, "Storage", "shared")
    press(page, "Add")
    expect(row(page, "scsi1")).to_be_visible()
    assert last(server)[2] == {"scsi1": "shared:0,import-from=local:import/old.vmdk"}


def test_a_disk_goes_to_another_storage(page: Page, server: Any) -> None:
    visit(page, "100/hardware")
    choose(page, "Disk scsi0", "Move to another storage")
    pick(page, "Storage", "local")
    page.get_by_label("Remove the old volume").check()
    press(page, "Move")
    expect(row(page, "scsi0")).to_contain_text("local:100/")
    wish = {"disk": "scsi0", "storage": "local", "delete": "1"}
    assert last(server) == ("POST", "/nodes/pve/qemu/100/move_disk", wish)


def test_a_disk_is_given_to_another_guest_of_the_node(page: Page, server: Any) -> None:
    visit(page, "100/hardware")
    choose(page, "Disk scsi0", "Give to another guest")
    pick(page, "Guest", "101")
    page.get_by_label("There as").fill("scsi3")
    press(page, "Give")
    expect(row(page, "scsi0")).to_have_count(0)
    wish = {"disk": "scsi0", "target-vmid": "101", "target-disk": "scsi3"}
    assert last(server) == ("POST", "/nodes/pve/qemu/100/move_disk", wish)


def test_a_guest_is_cloned_to_another_node(page: Page, server: Any) -> None:
    visit(page, "100")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Clone").click()
    pick(page, "Node", "pve3")
    expect(page.get_by_text("all disks must be on shared storages")).to_be_visible()
    press(page, "Clone")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert last(server)[2]["target"] == "pve3"


def edit(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Edit: {name}", exact=True).click()


def test_cloud_init_is_told_and_its_drive_made_anew(page: Page, server: Any) -> None:
    server.world.inside_of(100, server.world.guests[100]).settings["ide0"] = (
        "local:100/vm-100-cloudinit.qcow2"
    )
    visit(page, "100/cloudinit")
    edit(page, "User")
    page.get_by_role("dialog").get_by_label("User").fill("anna")
    press(page, "OK")
    expect(row(page, "^User")).to_contain_text("anna")
    edit(page, "SSH keys")
    page.get_by_role("dialog").get_by_label("SSH keys").fill("ssh-ed25519 AAAAC3Nz anna@laptop\n")
    press(page, "OK")
    expect(row(page, "SSH keys")).to_contain_text("anna@laptop")
    assert inside(server).settings["sshkeys"] == "ssh-ed25519%20AAAAC3Nz%20anna%40laptop"
    edit(page, "Addresses of net0")
    pick(page, "IPv4", "static")
    page.get_by_role("dialog").get_by_label("IPv4 address").fill("192.0.2.5/24")
    page.get_by_role("dialog").get_by_label("IPv4 gateway").fill("192.0.2.1")
    pick(page, "IPv6", "auto")
    press(page, "OK")
    expect(row(page, "Addresses of net0")).to_contain_text("ip=192.0.2.5/24,gw=192.0.2.1,ip6=auto")
    expect(page.get_by_text("Marked rows are not on the drive yet")).to_be_visible()
    page.get_by_role("button", name="Make the drive anew").click()
    expect(page.get_by_text("Marked rows are not on the drive yet")).to_have_count(0)
    assert last(server)[:2] == ("PUT", "/nodes/pve/qemu/100/cloudinit")
    edit(page, "User")
    page.get_by_role("dialog").get_by_label("User").fill("")
    press(page, "OK")
    expect(row(page, "^User")).to_contain_text("–")


def test_a_password_is_never_shown_and_a_guest_without_a_drive_is_told(page: Page, server: Any) -> None:
    visit(page, "100/cloudinit")
    expect(page.get_by_text("The guest has no cloud-init drive")).to_be_visible()
    edit(page, "Password")
    field = page.get_by_role("dialog").get_by_label("Password")
    expect(field).to_have_attribute("type", "password")
    expect(field).to_have_value("")
    server.world.refuse_settings = {"cipassword": "is too short"}
    field.fill("x")
    press(page, "OK")
    expect(page.locator("#cipassword-help")).to_contain_text("is too short")
