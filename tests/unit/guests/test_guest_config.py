"""Guests' configurations: printed back unchanged, edited where meant, wrong values named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.guests.config import Disk, Document, GuestConfig, Nic
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
