"""Guests' configurations: printed back unchanged, edited where meant, wrong values named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.guests.config import Disk, Document, GuestConfig, Nic
from kvorum.guests.config.hardware import Rng, Watchdog
from kvorum.guests.errors import GuestConfigError

TEXT = """#notes with 100%25 truth
#second line
boot: order=scsi0;net0
cores: 2
memory: 2048
name: web1
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1
scsi0: local:100/vm-100-disk-0.qcow2,size=4G
scsihw: virtio-scsi-pci

[PENDING]
memory: 4096

[before]
#a snapshot
cores: 1
snaptime: 1700000000
"""


def test_prints_back_what_it_read() -> None:
    assert Document.parse(TEXT).render() == TEXT


def test_typed_values() -> None:
    config = GuestConfig.parse(100, TEXT)
    assert (config.name, config.cores, config.memory_mib, config.cpus) == ("web1", 2, 2048, 2)
    assert config.boot_devices == ("scsi0", "net0")
    assert config.boot_disk_bytes == 4 << 30
    assert config.document.description == "notes with 100% truth\nsecond line\n"
    assert config.document.sections == ("PENDING", "before")


def test_an_edit_changes_only_its_lines() -> None:
    edited = GuestConfig.parse(100, TEXT).edit({"cores": "4", "agent": "1"}, frozenset({"name"}))
    expected = TEXT.replace("cores: 2", "cores: 4", 1).replace("name: web1\n", "")
    assert edited.document.render() == expected.replace("boot: ", "agent: 1\nboot: ", 1)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("color: red", ("unknown setting 'color'",)),
        ("cores: many", ("'cores'", "'many'", "1 to 4096")),
        ("scsi31: local:1", ("'scsi31'", "scsi0 to scsi30")),
        ("net0: wifi=BC:24:11:00:00:01", ("'net0'", "virtio")),
        ("net0: virtio=01:00:00:00:00:01", ("'net0'", "unicast")),
        ("scsi0: local:100/x.raw,cache=fast", ("'scsi0'", "cache=fast", "writeback")),
        ("scsi0: local:../../etc/shadow", ("'scsi0'", "leaves the storage")),
        ("bios: award", ("'bios'", "seabios, ovmf")),
        ("boot: order=floppy0", ("'boot'", "floppy0")),
        ("memory: lots", ("'memory'", "MiB")),
        ("vga: cga", ("'vga'", "std")),
        ("affinity: 3-1", ("'affinity'", "'3-1'", "smaller first")),
        ("audio0: device=gus", ("'audio0'", "device=gus", "AC97")),
        ("cpu: max,phys-bits=99", ("'cpu'", "phys-bits=99", "8 to 64")),
        ("efidisk0: local:1,cache=none", ("'efidisk0'", "'cache' is no option of efidisk0")),
        ("efidisk0: local:1,efitype=8m", ("'efidisk0'", "efitype=8m", "2m, 4m")),
        ("scsi0: local:1,efitype=4m", ("'scsi0'", "'efitype' is no option of a disk")),
        ("tpmstate0: local:1,version=v3", ("'tpmstate0'", "version=v3", "v1.2, v2.0")),
        ("hookscript: /root/x", ("'hookscript'", "STORAGE:VOLUME")),
        ("hotplug: disk,floppy", ("'hotplug'", "'floppy'", "memory")),
        ("keyboard: klingon", ("'keyboard'", "en-gb")),
        ("machine: pc,viommu=intel", ("'machine'", "q35")),
        ("numa0: memory=1", ("'numa0'", "lacks cpus or memory")),
        ("numa0: cpus=0,memory=1,policy=bind", ("'numa0'", "no hostnodes")),
        ("rng0: /dev/zero", ("'rng0'", "source=/dev/zero", "/dev/urandom")),
        ("rng0: /dev/random,period=0", ("'rng0'", "period=0", "1 or more")),
        ("smbios1: serial=%,base64=1", ("'smbios1'", "base64")),
        ("startdate: yesterday", ("'startdate'", "2026-11-28T12:00:00")),
        ("startup: order=first", ("'startup'", "order=first")),
        ("usb0: usb3=1", ("'usb0'", "either host or mapping")),
        ("usb0: mouse", ("'usb0'", "host=mouse", "VENDOR:PRODUCT")),
        ("vga: std,clipboard=spice", ("'vga'", "clipboard=spice")),
        ("watchdog: model=ib700,action=bark", ("'watchdog'", "action=bark", "poweroff")),
        ("no colon here", ("no setting",)),
        ("cores: 1\ncores: 2", ("'cores'", "already")),
    ],
)
def test_a_wrong_line_names_file_line_key_and_what_is_allowed(line: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(GuestConfigError) as error:
        GuestConfig.parse(100, f"name: a\n{line}\n", "nodes/n1/qemu-server/100.conf")
    number = 3 if "\n" in line else 2
    for part in (f"nodes/n1/qemu-server/100.conf line {number}", *parts):
        assert part in str(error.value)


def test_a_disk_and_a_card_print_back() -> None:
    for text in ("local:100/vm-100-disk-0.qcow2,cache=none,size=4G", "none,media=cdrom"):
        assert str(Disk.parse(text)) == text
    assert (
        str(Nic.parse("model=e1000,macaddr=bc:24:11:00:00:01,bridge=b0"))
        == "e1000=BC:24:11:00:00:01,bridge=b0"
    )


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        document = Document.parse(text)
    except GuestConfigError as error:
        assert "line" in str(error)
    else:
        assert Document.parse(document.render()) == document


@given(st.text(max_size=80))
def test_any_notes_survive(notes: str) -> None:
    document = Document.parse(TEXT).edit({"description": notes})
    again = Document.parse(document.render())
    assert again.description.splitlines() == notes.splitlines()
    assert again.settings() == Document.parse(document.render()).settings()
    assert {k: s.value for k, s in again.settings().items()} == {
        k: s.value for k, s in Document.parse(TEXT).settings().items()
    }


def test_hardware_is_read_as_values() -> None:
    config = GuestConfig.parse(
        100,
        "affinity: 0-2,5\nstartup: 3,up=10\nhotplug: cpu;memory\nwatchdog: ib700\nrng0: /dev/urandom\n"
        "numa1: cpus=2-3;5,memory=64\nsmbios1: uuid=11111111-2222-3333-4444-555555555555,sku=YSxi,base64=1\n",
    )
    assert config.affinity == {0, 1, 2, 5}
    assert (config.startup.order, config.startup.up_s, config.startup.down_s) == (3, 10, None)
    assert config.hotplug == {"cpu", "memory"}
    assert config.watchdog == Watchdog("ib700", "reset")
    assert config.rng == Rng("/dev/urandom", 1024, 1000)
    assert config.numa_nodes["numa1"].cpus == {2, 3, 5}
    assert config.smbios.fields["sku"] == "a,b"


def test_the_firmwares_and_the_tpms_volumes_are_no_disks_of_a_bus() -> None:
    config = GuestConfig.parse(
        100,
        "efidisk0: local:100/vm-100-disk-0.raw\ntpmstate0: local:100/vm-100-disk-1.raw\n"
        "sata0: none,media=cdrom\n",
    )
    assert list(config.disks) == ["efidisk0", "sata0", "tpmstate0"]
    assert (list(config.bus_disks), config.boot_devices) == (["sata0"], ("sata0",))
