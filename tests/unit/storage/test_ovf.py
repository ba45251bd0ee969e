"""Appliances from anywhere: what they describe is read, and nothing in them reaches a file of the node."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvorum.core.ids import VolumeId
from kvorum.core.paths import Paths
from kvorum.storage import NotADiskImage, StorageError, Storages, images, ova, ovf
from kvorum.storage.ovf import Appliance, ApplianceDisk, NotAnAppliance
from kvorum.store.memory import MemoryStore

RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"


def item(kind: int, id: int, **more: str) -> str:
    fields = "".join(f"<rasd:{key}>{value}</rasd:{key}>" for key, value in more.items())
    fields += f"<rasd:ResourceType>{kind}</rasd:ResourceType>"
    return f"<Item><rasd:InstanceID>{id}</rasd:InstanceID>{fields}</Item>"


def envelope(*items: str, files: tuple[str, ...] = ("disk1.vmdk", "disk2.vmdk"), before: str = "") -> bytes:
    refs = "".join(f'<File ovf:id="f{n}" ovf:href="{name}"/>' for n, name in enumerate(files))
    disks = "".join(f'<Disk ovf:diskId="d{n}" ovf:fileRef="f{n}"/>' for n in range(len(files)))
    return f"""<?xml version="1.0"?>{before}
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="{RASD}" xmlns:vmw="http://www.vmware.com/schema/ovf">
<References>{refs}</References><DiskSection>{disks}</DiskSection>
<VirtualSystem ovf:id="vm"><Name>My web server!</Name><VirtualHardwareSection>{"".join(items)}
<vmw:Config vmw:key="firmware" vmw:value="efi"/></VirtualHardwareSection></VirtualSystem>
</Envelope>""".encode()


WHOLE = (
    item(3, 1, VirtualQuantity="4"),
    item(4, 2, AllocationUnits="byte * 2^20", VirtualQuantity="2048"),
    item(6, 3, ResourceSubType="VirtualSCSI"),
    item(20, 4),
    item(17, 5, HostResource="ovf:/disk/d0", Parent="3"),
    item(17, 6, HostResource="ovf:/file/f1", Parent="4"),
    item(10, 7, ResourceSubType="VmxNet3"),
    item(15, 8),
)


def test_a_machine_is_read() -> None:
    assert ovf.parse(envelope(*WHOLE)) == Appliance(
        name="My-web-server",
        cores=4,
        memory_mib=2048,
        disks=(ApplianceDisk("scsi0", "disk1.vmdk"), ApplianceDisk("sata0", "disk2.vmdk")),
        nics=("vmxnet3",),
        scsihw="pvscsi",
        uefi=True,
        cdroms=1,
    )


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/shadow">]>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no XML"),
        (b"\x00\xff\xfe", "is no XML"),
        (b"<a>" * 100, "nested deeper"),
        (b"<a/>", "begins with 'a'"),
        (envelope(before=BOMB), "declares a document type"),
        (b" " * (ovf.MAX_BYTES + 1), "more than 4 MiB"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "is no XML"),
        (envelope(item(17, 1, HostResource="ovf:/disk/d0"), files=("../../etc/shadow",)), "no plain name"),
        (envelope(item(17, 1, HostResource="ovf:/disk/d0"), files=("/etc/shadow",)), "no plain name"),
        (envelope(item(17, 1, HostResource="ovf:/disk/d0"), files=("http://x/y.vmdk",)), "no plain name"),
        (envelope(item(17, 1, HostResource="ovf:/disk/nowhere")), "no plain name"),
        (envelope(item(3, 1, VirtualQuantity="0")), "'0' CPUs"),
        (envelope(item(3, 1, VirtualQuantity="9" * 30)), "no number that fits"),
        (envelope(item(4, 1, AllocationUnits="byte * 2^99", VirtualQuantity="1")), "not understood"),
        (envelope(item(4, 1, AllocationUnits="parsec", VirtualQuantity="1")), "not understood"),
        (envelope(item(4, 1, AllocationUnits="byte * 2^40", VirtualQuantity="999")), "MiB of memory"),
        (envelope(*[item(10, n) for n in range(99)]), "more than 64 disks or 32 cards"),
    ],
)
def test_what_is_none_or_asks_for_too_much_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(NotAnAppliance, match=said):
        ovf.parse(data)


@given(st.binary(max_size=400))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    with pytest.raises(NotAnAppliance):
        ovf.parse(data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_descriptor_is_read_or_refused(data: st.DataObject) -> None:
    """Pieces cut out, doubled and replaced: an appliance with plain names, or a sentence."""
    text = bytearray(envelope(*WHOLE))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 40))
        new = data.draw(
            st.sampled_from([b"", b"../", b"<", b"&amp;", b"\xff", b"9" * 20, bytes(text[at : at + 60])])
        )
        text[at : at + length] = new
    try:
        machine = ovf.parse(bytes(text))
    except NotAnAppliance:
        return
    assert all("/" not in disk.file and not disk.file.startswith(".") for disk in machine.disks)
    assert 16 <= machine.memory_mib <= 4 << 20 and 1 <= machine.cores <= 4096
    assert len({disk.key for disk in machine.disks}) == len(machine.disks)


# The archive

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")


def archive(path: Path, members: dict[str, bytes | Path], odd: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, "w") as tar:
        for info in odd:
            tar.addfile(info)
        for name, content in members.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"boot".ljust(510, b"\0") + b"\x55\xaa" + bytes(range(256)) * 4096 + b"\0" * (3 << 20))
    path.write_bytes(path.read_bytes()[: 4 << 20])
    return path


def image(raw: Path, format: str, *options: str) -> Path:
    path = raw.with_suffix(f".{format}")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", format, *options, raw, path], check=True)
    return path


@pytest.mark.parametrize(
    ("format", "options"),
    [("vmdk", ("-o", "subformat=streamOptimized")), ("vmdk", ()), ("qcow2", ()), ("raw", ()), ("vhdx", ()),
     ("vdi", ())],
)  # fmt: skip
async def test_a_disk_in_an_ova_is_imported_where_it_is(
    tmp_path: Path, raw: Path, format: str, options: tuple[str, ...]
) -> None:
    store = MemoryStore("n1")
    place = tmp_path / "a, place"
    await store.write("storage.cfg", f"dir: local\n\tpath {place}\n\tcontent images,import\n")
    storages = Storages(store, Paths.under(tmp_path / "node"))
    (place / "import").mkdir(parents=True)
    disk = raw if format == "raw" else image(raw, format, *options)
    descriptor = envelope(item(17, 1, HostResource="ovf:/disk/d0"), files=("disk.x",))
    path = archive(place / "import/x.ova", {"x.ovf": descriptor, "disk.x": disk})
    assert ova.read(path).disks == (ApplianceDisk("scsi0", "disk.x"),)
    source = storages.importable(VolumeId.parse("local:import/x.ova/disk.x"))
    kind = storages.get("local")
    volume = await kind.import_disk(100, source, "qcow2")
    compared = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, kind.path(volume)]
    assert subprocess.run(compared, check=False).returncode == 0
    assert {p.name for p in place.rglob("*") if p.is_file()} == {"x.ova", "vm-100-disk-0.qcow2"}


async def test_what_reaches_outside_an_ova_is_not_read(tmp_path: Path, raw: Path) -> None:
    backed = tmp_path / "backed.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", backed], check=True)
    flat = image(raw, "vmdk", "-o", "subformat=monolithicFlat")
    path = archive(tmp_path / "x.ova", {"backed": backed, "flat": flat, "text": b"no disk" * 600})
    for name, said in (
        ("backed", "builds on another file"),
        ("flat", "in another file"),
        ("text", "no disk image"),
    ):
        with pytest.raises(NotADiskImage, match=said):
            await images.check_importable(ova.part(path, name))


def odd(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_links_devices_and_names_that_leave_are_no_parts(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "x.ova",
        {"./plain.vmdk": b"x", "../../etc/cron.d/evil": b"x", "/etc/passwd": b"x", "a/b.vmdk": b"x"},
        (
            odd("link.vmdk", tarfile.SYMTYPE, "/etc/shadow"),
            odd("hard.vmdk", tarfile.LNKTYPE, "/etc/shadow"),
            odd("device", tarfile.BLKTYPE),
            odd("pipe", tarfile.FIFOTYPE),
        ),
    )
    assert set(ova.parts(path)) == {"plain.vmdk"}
    with pytest.raises(NotAnAppliance, match=r"has no 'link\.vmdk'; it has: plain\.vmdk"):
        ova.part(path, "link.vmdk")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no tar at all", "is no OVA"), (b"", "is no OVA"), (b"\x1f\x8b" + b"x" * 600, "is no OVA")],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.ova").write_bytes(content)
    with pytest.raises(NotAnAppliance, match=said):
        ova.read(tmp_path / "x.ova")


def test_an_archive_that_lacks_something_is_refused(tmp_path: Path) -> None:
    descriptor = envelope(item(17, 1, HostResource="ovf:/disk/d0"))
    with pytest.raises(NotAnAppliance, match=r"lacks .disk1\.vmdk., which its descriptor has as scsi0"):
        ova.read(archive(tmp_path / "x.ova", {"x.ovf": descriptor}))
    with pytest.raises(NotAnAppliance, match="has no OVF descriptor; it has"):
        ova.read(archive(tmp_path / "y.ova", {"a": b"x"}))
    whole = archive(tmp_path / "z.ova", {"x.ovf": descriptor, "disk1.vmdk": b"x" * 5000}).read_bytes()
    (tmp_path / "cut.ova").write_bytes(whole[: len(descriptor) + 3000])
    with pytest.raises(StorageError):
        ova.read(tmp_path / "cut.ova")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = archive(
        tmp_path / "x.ova", {"x.ovf": envelope(*WHOLE), "disk1.vmdk": b"x", "disk2.vmdk": b"y" * 600}
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        machine = ova.read(path)
    except NotAnAppliance:
        return
    assert all(part.offset + part.size <= path.stat().st_size for part in ova.parts(path).values())
    assert all("/" not in disk.file for disk in machine.disks)
