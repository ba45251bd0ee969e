"""A guest's parts, disks that move, cloud-init, clones and hibernation, by clicks at the page of real nodes.

The page is n1's; the guests are on n2. Each task must end well, and what it did is asked of the commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from lab_browser import look, signed_in
from lab_cluster import SHARED, Cluster
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.timeout(360)
VMID, TAKER, ORIGIN, WHOLE, LINKED = range(8991, 8996)
TASK_MS = 90_000
"""A task on a busy machine."""
IMAGE = "/var/lib/vz/import/old.qcow2"


@pytest.fixture(scope="module")
def page(formed: Cluster) -> Iterator[Page]:
    """The page of n1, root logged in; guests on n2, with disks on its local storage and the shared one."""
    script = f"mkdir -p /var/lib/vz/import && qemu-img create -q -f qcow2 {IMAGE} 16M"
    formed.say("n2", "sh", "-c", script)
    formed.create("n2", VMID, "--name", "parts", "--scsihw", "virtio-scsi-single",
                   "--net0", "virtio,bridge=vmbr0", "--scsi0", "local:0.02")  # fmt: skip
    formed.create("n2", TAKER, "--name", "taker")
    formed.create("n2", ORIGIN, "--name", "origin", "--scsi0", f"{SHARED}:0.02,format=qcow2")
    with signed_in(formed.lab, "n1") as page:
        yield page
    for vmid in (LINKED, WHOLE, ORIGIN, TAKER, VMID):
        formed.remove(vmid)
    formed.say("n2", "rm", IMAGE)


def settings(cluster: Cluster, vmid: int, node: str = "n2") -> dict[str, str]:
    lines = cluster.say(node, "qm", "config", str(vmid)).splitlines()
    return dict(line.split(": ", 1) for line in lines)


def visit(page: Page, place: str) -> None:
    page.goto(re.sub(r"#.*", "", page.url) + f"#/guest/{place}")


def press(page: Page, name: str) -> None:
    """The dialog's button, and the dialog goes."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def pick(page: Page, label: str, value: str) -> None:
    page.get_by_role("dialog").get_by_label(label, exact=True).select_option(value)


def row(page: Page, name: str) -> Locator:
    return page.locator("#main").get_by_role("row", name=re.compile(name))


def add(page: Page, what: str) -> None:
    page.get_by_role("region", name="Hardware").get_by_role("button", name="Add").click()
    page.get_by_role("menuitem", name=what, exact=True).click()


def choose(page: Page, part: str, what: str) -> None:
    page.get_by_role("button", name=f"Actions for {part}", exact=True).click()
    page.get_by_role("menuitem", name=what).click()


def more(page: Page, what: str) -> None:
    page.get_by_role("toolbar").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name=what).click()


def edit(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Edit: {name}", exact=True).click()


def done(page: Page, task: str) -> None:
    """The task that the page follows is this one, and it ends well."""
    followed = page.locator(".kv-tasks tr[aria-selected=true]")
    expect(followed).to_contain_text(task, timeout=TASK_MS)
    expect(followed.locator(".kv-result")).to_have_text("OK", timeout=TASK_MS)


def test_parts_are_added_and_disks_move_by_clicks(cluster: Cluster, page: Page) -> None:
    visit(page, f"{VMID}/hardware")
    for what, key, value in (
        ("EFI disk", "efidisk0", "local:"),
        ("TPM", "tpmstate0", "local:"),
        ("Random numbers", "rng0", "source=/dev/urandom"),
        ("Cloud-init drive", "ide0", "cloudinit"),
        ("Imported disk", "scsi1", "local:"),
    ):
        add(page, what)
        if key == "scsi1":
            pick(page, "Image", "local:import/old.qcow2")
        if key != "rng0":
            pick(page, "Storage", "local")
        look(page, f"add-{key}")
        press(page, "Add")
        done(page, f"Configure VM {VMID}")
        expect(row(page, key)).to_contain_text(value)
    made = settings(cluster, VMID)
    assert made["efidisk0"].startswith(f"local:{VMID}/") and "efitype=4m" in made["efidisk0"]
    assert made["tpmstate0"].startswith(f"local:{VMID}/") and "version=v2.0" in made["tpmstate0"]
    assert made["rng0"] == "source=/dev/urandom,max_bytes=1024,period=1000"
    assert "cloudinit" in made["ide0"] and "size=16M" in made["scsi1"]
    look(page, "hardware")

    visit(page, f"{VMID}/cloudinit")
    for name, text in (("User", "anna"), ("SSH keys", "ssh-ed25519 AAAAC3Nz anna@laptop\n")):
        edit(page, name)
        page.get_by_role("dialog").get_by_label(name).fill(text)
        look(page, f"cloudinit-{name}")
        press(page, "OK")
    edit(page, "Addresses of net0")
    pick(page, "IPv4", "static")
    page.get_by_role("dialog").get_by_label("IPv4 address").fill("198.18.12.77/24")
    look(page, "cloudinit-addresses")
    press(page, "OK")
    expect(page.get_by_text("Marked rows are not on the drive yet")).to_be_visible()
    look(page, "cloudinit")
    page.get_by_role("button", name="Make the drive anew").click()
    expect(page.get_by_text("Marked rows are not on the drive yet")).to_have_count(0)
    file = "/var/lib/vz/images/" + settings(cluster, VMID)["ide0"].partition(",")[0].partition(":")[2]
    script = f"qemu-img convert -O raw {file} /tmp/disc && cat /tmp/disc; rm /tmp/disc"
    written = cluster.say("n2", "sh", "-c", script)
    assert "anna@laptop" in written and "198.18.12.77/24" in written

    page.get_by_role("toolbar").get_by_role("button", name="Start").click()
    done(page, f"Start VM {VMID}")
    pid = cluster.pid("n2", VMID)
    visit(page, f"{VMID}/hardware")
    choose(page, "Disk scsi0", "Move to another storage")
    pick(page, "Storage", SHARED)
    page.get_by_label("Remove the old volume").check()
    look(page, "move")
    press(page, "Move")
    done(page, f"Move disk of VM {VMID}")
    expect(row(page, "Disk scsi0")).to_contain_text(f"{SHARED}:{VMID}/")
    moved = settings(cluster, VMID)
    assert moved["scsi0"].startswith(f"{SHARED}:{VMID}/") and "unused0" not in moved
    assert cluster.pid("n2", VMID) == pid

    more(page, "Hibernate")
    look(page, "hibernate")
    press(page, "Hibernate")
    done(page, f"Suspend VM {VMID}")
    expect(page.locator("#main .kv-state").first).to_have_text("hibernated")
    asleep = settings(cluster, VMID)
    assert asleep["lock"] == "suspended" and asleep["vmstate"].startswith("local:")
    look(page, "asleep")
    page.get_by_role("toolbar").get_by_role("button", name="Resume").click()
    done(page, f"VM {VMID}")
    expect(page.locator("#main .kv-state").first).to_have_text("running")
    assert not {"lock", "vmstate"} & settings(cluster, VMID).keys()
    assert cluster.status("n2", VMID) == "running" and cluster.pid("n2", VMID) != pid

    page.get_by_role("toolbar").get_by_role("button", name="Stop").click()
    press(page, "Stop")
    done(page, f"Stop VM {VMID}")
    choose(page, "Disk scsi1", "Give to another guest")
    pick(page, "Guest", str(TAKER))
    page.get_by_label("There as").fill("scsi3")
    look(page, "give")
    press(page, "Give")
    done(page, f"Move disk of VM {VMID}")
    expect(row(page, "Disk scsi1")).to_have_count(0)
    assert "scsi1" not in settings(cluster, VMID)
    assert settings(cluster, TAKER)["scsi3"].startswith(f"local:{TAKER}/")
    all_went_well(page)


def test_clones_go_to_another_node_by_clicks(cluster: Cluster, page: Page) -> None:
    visit(page, str(ORIGIN))
    clone(page, WHOLE, "whole")
    done(page, f"Clone VM {ORIGIN}")
    more(page, "Convert to template")
    press(page, "Convert")
    done(page, f"Make template of VM {ORIGIN}")
    expect(page.locator("#main .kv-state").first).to_have_text("template")
    clone(page, LINKED, "linked")
    done(page, f"Clone VM {ORIGIN}")
    base = settings(cluster, ORIGIN)["scsi0"].partition(",")[0]
    assert settings(cluster, WHOLE, "n3")["scsi0"].startswith(f"{SHARED}:{WHOLE}/")
    assert settings(cluster, LINKED, "n3")["scsi0"].startswith(f"{base}/{LINKED}/")
    for vmid, name in ((WHOLE, "whole"), (LINKED, "linked")):
        expect(page.get_by_role("treeitem").get_by_text(name, exact=True)).to_be_visible()
        cluster.say("n3", "qm", "start", str(vmid))
        assert cluster.status("n3", vmid) == "running"
    all_went_well(page)


def clone(page: Page, vmid: int, name: str) -> None:
    """To n3; a template's is linked, as its dialog has it at first."""
    more(page, "Clone")
    expect(page.locator("#newid")).not_to_have_value("")
    page.locator("#newid").fill(str(vmid))
    page.locator("#clonename").fill(name)
    pick(page, "Node", "n3")
    look(page, f"clone-{name}")
    press(page, "Clone")


def all_went_well(page: Page) -> None:
    """No task of these guests has ended otherwise."""
    tasks = page.evaluate("fetch('/api2/json/cluster/tasks').then(answer => answer.json())")["data"]
    ours = [task for task in tasks if task["id"] in map(str, (VMID, TAKER, ORIGIN, WHOLE, LINKED))]
    assert len(ours) >= 4
    assert [task for task in ours if task["status"] != "OK"] == [], json.dumps(ours)
