"""What a guest's cloud-init is told, and the drive that it stands on."""

from __future__ import annotations

import ctypes
import io
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import guests_world
import pycdlib
import pytest
from guests_world import MemoryStore, Node
from hypothesis import given
from hypothesis import strategies as st

from kvorum.guests.change import Changes, Wish
from kvorum.guests.cloudinit import Cloud, CloudInit, hashed
from kvorum.guests.cloudinit.disc import disc
from kvorum.guests.cloudinit.documents import files, generated
from kvorum.guests.cloudinit.drive import noted, pending_rows
from kvorum.guests.config import GuestConfig
from kvorum.guests.disks import own_volumes
from kvorum.guests.errors import GuestConfigError, GuestError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7 admin@example.org"
TEXT = f"""name: web
ciuser: admin
cipassword: $6$salt$hash
ciupgrade: 0
sshkeys: {quote(KEY, safe="")}
nameserver: 192.0.2.53 2001:db8::53
searchdomain: example.org
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0
net1: virtio=BC:24:11:00:00:02,bridge=vmbr0
net2: virtio=BC:24:11:00:00:03,bridge=vmbr0
ipconfig0: ip=192.0.2.7/24,gw=192.0.2.1,ip6=2001:db8::7/64,gw6=2001:db8::1
ipconfig1: ip=dhcp,ip6=auto
"""


def said(text: str) -> dict[str, str]:
    return generated(Cloud.of(GuestConfig.parse(100, text)))


def test_nocloud_tells_user_network_and_who_it_is() -> None:
    texts = said(TEXT)
    assert (
        texts["user"]
        == f"""#cloud-config
hostname: "web"
manage_etc_hosts: true
fqdn: "web.example.org"
user: "admin"
password: "$6$salt$hash"
ssh_authorized_keys:
  - "{KEY}"
chpasswd:
  expire: false
users:
  - default
package_upgrade: false
"""
    )
    assert (
        texts["network"]
        == """version: 1
config:
  - type: physical
    name: "eth0"
    mac_address: "bc:24:11:00:00:01"
    subnets:
      - type: static
        address: "192.0.2.7/24"
        gateway: "192.0.2.1"
      - type: static6
        address: "2001:db8::7/64"
        gateway: "2001:db8::1"
  - type: physical
    name: "eth1"
    mac_address: "bc:24:11:00:00:02"
    subnets:
      - type: dhcp4
      - type: ipv6_slaac
  - type: nameserver
    address:
      - "192.0.2.53"
      - "2001:db8::53"
    search:
      - "example.org"
"""
    )
    assert texts["meta"].startswith('instance-id: "')


def test_the_same_settings_are_the_same_instance_and_others_are_another() -> None:
    assert said(TEXT) == said(TEXT)
    assert said(TEXT)["meta"] != said(TEXT.replace("192.0.2.7", "192.0.2.8"))["meta"]
    assert said(TEXT)["meta"] == said(TEXT + "memory: 1024\n")["meta"]


def test_root_may_log_in_when_it_is_the_user() -> None:
    texts = said("ciuser: root\n")
    assert "disable_root: false\n" in texts["user"]
    assert "default" not in texts["user"]


def test_a_config_drive_has_the_places_that_openstack_gives_them() -> None:
    cloud = Cloud.of(GuestConfig.parse(100, TEXT + "citype: configdrive2\n"))
    label, made = files(cloud, generated(cloud))
    assert label == "config-2"
    meta = json.loads(made["/openstack/latest/meta_data.json"])
    assert (meta["hostname"], meta["public_keys"]) == ("web", {"SSHKEY0": KEY})
    network = made[f"/openstack{meta['network_config']['content_path']}"]
    assert "iface eth0 inet static\n        address 192.0.2.7\n        netmask 255.255.255.0\n" in network
    assert "iface eth0 inet6 static\n        address 2001:db8::7\n        netmask 64\n" in network
    assert "dns-nameservers 192.0.2.53 2001:db8::53\n" in network
    assert "iface eth1 inet dhcp\niface eth1 inet6 auto\n" in network
    assert Cloud.of(GuestConfig.parse(100, "ostype: win11\n")).kind == "configdrive2"


@given(
    st.text(min_size=1, max_size=40, alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
)
def test_a_comment_of_a_key_stays_in_its_place(comment: str) -> None:
    line = f"ssh-ed25519 AAAA {comment}".strip()
    texts = said(f"sshkeys: {quote(line, safe='')}\n")
    entry = next(line for line in texts["user"].splitlines() if line.startswith('  - "ssh'))
    assert json.loads(entry.removeprefix("  - ")) == line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ipconfig0: ip=192.0.2.7", "no address with its prefix, such as 192.0.2.7/24"),
        ("ipconfig0: ip=2001:db8::7/64", "no address with its prefix"),
        ("ipconfig0: gw=192.0.2.1", "needs an address of its own in ip"),
        ("ipconfig0: ip=dhcp,gw=192.0.2.1", "needs an address of its own in ip"),
        ("ipconfig0: ip6=2001:db8::7/64,gw6=192.0.2.1", "no address of IP version 6"),
        ("nameserver: ns.example.org", "nameserver=ns.example.org is no IP address"),
        ("searchdomain: a_b", "'a_b' is no domain"),
        ("ciuser: Root", "'Root' is no name of a user"),
        ("citype: floppy", "nocloud, configdrive2"),
        ("sshkeys: secret", "'secret' is no public key of SSH"),
        ("cicustom: user=local:iso/x", "is no snippet; write STORAGE:snippets/NAME"),
        ("cicustom: password=local:snippets/x", "'password' is no option of cicustom"),
    ],
)
def test_a_wrong_value_is_one_sentence(line: str, why: str) -> None:
    with pytest.raises(GuestConfigError, match=why):
        GuestConfig.parse(100, line + "\n")


def test_a_password_is_hashed_with_a_new_salt_and_a_hash_is_kept() -> None:
    first, second = hashed("secret"), hashed("secret")
    assert first != second and hashed(first) == first
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    assert crypt(b"secret", first.encode()).decode() == first


def contents(image: bytes) -> tuple[str, dict[str, str]]:
    """A drive's label and files, as a system with Rock Ridge reads them; those of Joliet are the same."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found: list[dict[str, str]] = []
    for way in ("rr_path", "joliet_path"):
        texts = {}
        for folder, _, names in iso.walk(**{way: "/"}):
            for name in names:
                out = io.BytesIO()
                path = f"{folder.rstrip('/')}/{name}"
                iso.get_file_from_iso_fp(out, **{way: path})
                texts[path] = out.getvalue().decode()
        found.append(texts)
    assert found[0] == found[1]
    label = iso.pvd.volume_identifier.decode().strip()
    iso.close()
    return label, found[0]


def test_a_drive_reads_as_it_was_written() -> None:
    for citype in ("nocloud", "configdrive2"):
        cloud = Cloud.of(GuestConfig.parse(100, TEXT + f"citype: {citype}\n"))
        label, texts = files(cloud, generated(cloud))
        assert contents(disc(label, texts)) == (label, texts)


def test_what_is_too_much_for_a_drive_is_said() -> None:
    with pytest.raises(ValueError, match="4194304 are possible"):
        disc("cidata", {"/user-data": "x" * (5 << 20)})


# With guests


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    if not shutil.which(guests_world.QEMU):
        pytest.skip("no qemu-system-x86_64 here")
    node = Node("n1", tmp_path, MemoryStore("n1"), await guests_world.qemu_facts())
    await node.store.write("nodes/n1/qemu-server/100.conf", "memory: 32\nvga: none\nname: web\n")
    yield node
    await node.close()


async def change(node: Node, changes: dict[str, str], *delete: str) -> None:
    changing = Changes(node.manager, node.storages, node.unfinished)
    await changing.make(100, Wish(changes, frozenset(delete)), who="root@pam")


def config(node: Node) -> GuestConfig:
    found: GuestConfig = node.manager.registry.config(100)
    return found


def on_disk(node: Node) -> dict[str, str]:
    path = node.storages.get("local").root / "images/100/vm-100-cloudinit.raw"
    return contents(path.read_bytes())[1]


async def test_a_drive_is_made_and_says_at_each_start_what_the_configuration_does(node: Node) -> None:
    await change(node, {"ide2": "local:cloudinit", "ciuser": "admin"})
    assert config(node).settings["ide2"] == "local:100/vm-100-cloudinit.raw,media=cdrom"
    await node.manager.start(100)
    assert 'user: "admin"\n' in on_disk(node)["/user-data"]
    assert noted(config(node)) == {"ciuser": "admin", "name": "web"}
    await change(node, {"ciuser": "other"})
    rows = {row.pop("key"): row for row in pending_rows(config(node))}
    assert rows == {"ciuser": {"value": "admin", "pending": "other"}, "name": {"value": "web"}}
    assert 'user: "admin"\n' in on_disk(node)["/user-data"], "not before it is asked for"
    await node.manager.stop(100)
    await node.manager.start(100)
    assert 'user: "other"\n' in on_disk(node)["/user-data"]


async def test_a_drive_is_made_anew_while_the_guest_runs(node: Node) -> None:
    await change(node, {"ide2": "local:cloudinit"})
    await node.manager.start(100)
    await change(node, {"cipassword": "$6$salt$hash"})
    await Changes(node.manager, node.storages, node.unfinished).renew_cloudinit(100, who="root@pam")
    assert 'password: "$6$salt$hash"\n' in on_disk(node)["/user-data"]
    assert all("pending" not in row for row in pending_rows(config(node)))
    assert next(r for r in pending_rows(config(node)) if r["key"] == "cipassword")["value"] == "**********"
    blocks = await node.manager.need_running(100).monitor.execute("query-block")
    drive = next(block for block in blocks if block["qdev"] == "ide2")
    assert drive["inserted"]["file"].endswith("vm-100-cloudinit.raw")


async def test_a_drive_that_goes_takes_its_volume_along(node: Node) -> None:
    await change(node, {"ide2": "local:cloudinit"})
    await change(node, {}, "ide2")
    assert node.storages.get("local").list_blocking(100) == []
    assert not config(node).unused
    await change(node, {"ide2": "local:cloudinit"})
    await node.manager.start(100)
    await change(node, {}, "ide2")
    assert len(node.storages.get("local").list_blocking(100)) == 1, "the running guest has it"
    await node.manager.stop(100)
    await node.manager.start(100)
    assert node.storages.get("local").list_blocking(100) == []


async def test_a_drive_is_the_guests_own_and_one_only(node: Node) -> None:
    await change(node, {"ide2": "local:cloudinit"})
    assert [str(volume) for volume in own_volumes(config(node))] == ["local:100/vm-100-cloudinit.raw"]
    await change(node, {"sata0": "local:cloudinit"})
    with pytest.raises(GuestError, match="two cloud-init drives, ide2 and sata0; delete one"):
        await node.manager.start(100)


async def test_a_lost_drive_is_made_again_at_the_start(node: Node) -> None:
    await change(node, {"ide2": "local:cloudinit"})
    await node.manager.start(100)
    await node.manager.stop(100)
    await node.storages.get("local").free(own_volumes(config(node))[0])
    await node.manager.start(100)
    assert "/meta-data" in on_disk(node)


async def test_snippets_take_the_place_of_what_is_generated(node: Node) -> None:
    folder = node.storages.get("local").root / "snippets"
    folder.mkdir(parents=True)
    (folder / "u.yml").write_text("#cloud-config\nown: true\n")
    (folder / "v.yml").write_text("#cloud-config\nvendor: true\n")
    await change(node, {
        "ide2": "local:cloudinit", "cicustom": "user=local:snippets/u.yml,vendor=local:snippets/v.yml",
    })  # fmt: skip
    before = (await CloudInit(node.storages).texts(config(node)))["meta"]
    await node.manager.start(100)
    assert on_disk(node)["/user-data"] == "#cloud-config\nown: true\n"
    assert on_disk(node)["/vendor-data"] == "#cloud-config\nvendor: true\n"
    await node.manager.stop(100)
    (folder / "u.yml").write_text("#cloud-config\nown: false\n")
    await node.manager.start(100)
    assert on_disk(node)["/user-data"] == "#cloud-config\nown: false\n", "a snippet may change by itself"
    assert on_disk(node)["/meta-data"] != before
    await node.manager.stop(100)
    (folder / "v.yml").unlink()
    with pytest.raises(GuestError, match=r"vendor=local:snippets/v.yml can't be read: No such file"):
        await node.manager.start(100)
