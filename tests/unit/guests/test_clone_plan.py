"""What a clone's configuration is, and what of the original it has its own of."""

from __future__ import annotations

import pytest

from kvorum.guests.config import GuestConfig, Nic
from kvorum.guests.copies import plan
from kvorum.guests.copies.plan import Wish
from kvorum.guests.errors import GuestError

UUID = "11111111-1111-1111-1111-111111111111"
TEXT = f"""#notes of it
boot: order=scsi0
ide2: local:iso/x.iso,media=cdrom
memory: 512
name: web
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1
net1: model=e1000,macaddr=BC:24:11:00:00:02,bridge=vmbr1
onboot: 1
parent: one
scsi0: local:100/vm-100-disk-0.qcow2,size=4G,discard=on
smbios1: uuid={UUID},family=x
tags: a;b
unused0: local:100/vm-100-disk-3.qcow2
vmgenid: {UUID}

[PENDING]
memory: 1024

[one]
memory: 256
scsi0: local:100/vm-100-disk-0.qcow2,size=2G
snaptime: 1000
vmstate: local:100/vm-100-state-one.raw
runningmachine: pc-i440fx-10.0
"""


def config(text: str = TEXT) -> GuestConfig:
    return GuestConfig.parse(100, text)


def test_a_clone_has_the_settings_and_an_identity_of_its_own() -> None:
    clone = plan.clone_of(config(), Wish(100, 101), "101.conf")
    assert clone.document.sections == () and clone.lock == "clone"
    assert clone.document.description == "notes of it\n"
    assert clone.text("name") == "Copy-of-VM-web"
    assert {"parent", "unused0"}.isdisjoint(clone.settings)
    for key in ("memory", "onboot", "tags", "boot", "ide2"):
        assert clone.text(key) == config().text(key)
    before, after = config().nics, clone.nics
    assert {nic.mac for nic in before.values()}.isdisjoint(nic.mac for nic in after.values())
    assert [(n.model, n.bridge, n.options) for n in before.values()] == [
        (n.model, n.bridge, n.options) for n in after.values()
    ]
    assert UUID not in clone.text("smbios1") and clone.text("smbios1").endswith(",family=x")
    assert UUID not in clone.text("vmgenid")


def test_two_clones_are_no_twins() -> None:
    one, two = (plan.clone_of(config(), Wish(100, newid), "") for newid in (101, 102))
    for key in ("net0", "smbios1", "vmgenid"):
        assert one.text(key) != two.text(key)


def test_what_a_guest_does_not_have_it_does_not_get() -> None:
    clone = plan.clone_of(config("memory: 64\nnet0: virtio,bridge=vmbr0\n"), Wish(100, 101), "")
    assert set(clone.settings) == {"lock", "memory", "name", "net0"}
    assert Nic.parse(clone.text("net0")).mac and clone.text("name") == "Copy-of-VM-100"


def test_a_name_and_notes_can_be_given() -> None:
    clone = plan.clone_of(config(), Wish(100, 101, name="shop", description="other"), "")
    assert clone.text("name") == "shop" and clone.document.description == "other\n"


def test_a_clone_of_a_snapshot_has_the_settings_of_then_and_no_memory() -> None:
    wish = Wish(100, 101, snapshot="one")
    clone = plan.clone_of(config(), wish, "")
    assert clone.text("memory") == "256" and "vmstate" not in clone.settings
    assert set(clone.settings) == {"lock", "memory", "name", "scsi0"}
    assert [disk.size_bytes for disk in plan.drives(config(), "one").values()] == [2 << 30]


def test_cds_are_shared_and_a_path_can_t_be_copied() -> None:
    assert set(plan.drives(config(), "")) == {"scsi0"}
    with pytest.raises(GuestError, match=r"scsi1 is the path '/dev/sdx'"):
        plan.drives(config(TEXT.replace("smbios1", "scsi1: /dev/sdx\nsmbios1")), "")


@pytest.mark.parametrize(
    ("text", "full", "linked"),
    [("", None, False), ("", True, False), ("template: 1\n", None, True), ("template: 1\n", True, False)],
)
def test_templates_are_rested_on_and_guests_copied(text: str, full: bool | None, linked: bool) -> None:
    wish = Wish(100, 101, full=full)
    wish.check(config(text + "memory: 64\n"))
    assert wish.linked(config(text + "memory: 64\n")) is linked


def test_what_contradicts_itself_is_refused() -> None:
    template = config("template: 1\nmemory: 64\n")
    for wish, told in (
        (Wish(100, 101, storage="other"), "leave 'storage' out"),
        (Wish(100, 101, format="raw"), "leave 'format' out"),
    ):
        with pytest.raises(GuestError, match=told):
            wish.check(template)
    with pytest.raises(GuestError, match="VM 100 is no template"):
        Wish(100, 101, full=False).check(config())
    with pytest.raises(GuestError, match="snapshot 'two' does not exist"):
        Wish(100, 101, snapshot="two").check(config())
    with pytest.raises(GuestError, match="not whole"):
        Wish(100, 101, snapshot="one").check(config(TEXT + "snapstate: delete\n"))
