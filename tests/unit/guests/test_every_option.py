"""Every option of qm.conf: right values reach QEMU's command line or have a place elsewhere, wrong ones are
refused in one sentence that names option, value and what is allowed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import guests_world
import pytest
from command_lines import build

from kvorum.guests.config import GuestConfig, options
from kvorum.guests.errors import GuestConfigError

DISK = "local:100/vm-100-disk-0.raw"
UUID = "11111111-2222-3333-4444-555555555555"

ON_THE_COMMAND_LINE: dict[str, list[tuple[str, str]]] = {
    "acpi": [("acpi: 0", "-machine type=pc-i440fx-10.0,acpi=off")],
    "agent": [
        ("agent: 1", "virtserialport,bus=vserial0.0,chardev=qga,name=org.qemu.guest_agent.0"),
        ("agent: enabled=1,type=isa", "isa-serial,chardev=qga,index=3"),
    ],
    "allow-ksm": [("allow-ksm: 0", "-machine type=pc-i440fx-10.0,mem-merge=off")],
    "args": [("args: -device 'pvpanic,id=a b'", "-device pvpanic,id=a b")],
    "audio0": [("audio0: device=AC97,driver=none", "AC97,id=audio0")],
    "bios": [("bios: ovmf", "-bios /usr/share/ovmf/OVMF.fd")],
    "boot": [
        ("boot: order=net0\nnet0: virtio=BC:24:11:00:00:01", "id=net0,bootindex=100"),
        (f"boot: c\nide0: {DISK}", "id=ide0,write-cache=on,bootindex=100"),
    ],
    "bootdisk": [
        (f"boot: c\nbootdisk: ide1\nide0: none,media=cdrom\nide1: {DISK}", "ide1,write-cache=on,bootindex")
    ],
    "cores": [("cores: 3", "-smp 3,sockets=1,cores=3,maxcpus=3")],
    "cpu": [
        ("cpu: Nehalem,flags=+aes;-sse4.2", "-cpu Nehalem,+aes,-sse4.2"),
        ("cpu: host", "-cpu max "),
        (
            "cpu: max,phys-bits=40,guest-phys-bits=36,level=30",
            "-cpu max,phys-bits=40,guest-phys-bits=36,level=30",
        ),
        ("cpu: host,hidden=1\nkvm: 1", "-cpu host,kvm=off"),
    ],
    "efidisk0": [(f"bios: ovmf\nefidisk0: {DISK},efitype=4m", "pflash0=pflash0,pflash1=drive-efidisk0")],
    "ide0": [
        (
            f"ide0: {DISK},model=Disk%20of%20mine,serial=S1",
            "ide-hd,bus=ide.0,unit=0,drive=drive-ide0,id=ide0,write-cache=on,serial=S1,model=Disk of mine",
        ),
        ("ide2: none,media=cdrom", "ide-cd,bus=ide.1,unit=0,id=ide2"),
    ],
    "keyboard": [("keyboard: de-ch", "-k de-ch")],
    "kvm": [("kvm: 1", "-accel kvm"), ("kvm: 0", "-accel tcg")],
    "localtime": [("localtime: 1", "-rtc base=localtime"), ("ostype: win11\nlocaltime: 0", "-rtc base=utc")],
    "machine": [
        ("machine: pc-q35-9.2", "type=pc-q35-9.2"),
        ("machine: q35,viommu=virtio,aw-bits=39", "virtio-iommu-pci,bus=pcie.0,addr=0x9,aw-bits=39"),
        ("machine: pc,enable-s3=0,enable-s4=1", "PIIX4_PM.disable_s3=1 -global PIIX4_PM.disable_s4=0"),
    ],
    "memory": [("memory: 300", "-m size=300M")],
    "name": [("name: web1", "-name web1,debug-threads=on")],
    "net0": [
        (
            "net0: virtio=BC:24:11:00:00:01,mtu=9000",
            "virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12,id=net0,host_mtu=9000",
        ),
        ("net0: e1000=BC:24:11:00:00:01,bridge=vmbr0", "-netdev tap,id=net0,fd=30"),
    ],
    "numa": [("numa: 1\ncores: 2\nsockets: 2\nmemory: 65", "-numa node,nodeid=1,cpus=2-3,memdev=ram-numa1")],
    "numa0": [
        (
            "numa: 1\nmemory: 64\nnuma0: cpus=0,memory=64,hostnodes=0,policy=bind",
            "memory-backend-ram,id=ram-numa0,size=64M,host-nodes.0=0,policy=bind",
        ),
    ],
    "ostype": [
        ("ostype: win11", "-rtc base=localtime"),
        (
            "ostype: win11\nkvm: 1\ncpu: host,hv-vendor-id=Mine",
            "hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-time",
        ),
        ("ostype: win10\nkvm: 1\ncpu: host,hv-vendor-id=Mine", "hv-vendor-id=Mine"),
    ],
    "reboot": [("reboot: 0", "-no-reboot")],
    "rng0": [
        (
            "rng0: /dev/random,max_bytes=512,period=2000",
            "rng=rng0-source,bus=pci.0,addr=0x10,max-bytes=512,period=2000",
        )
    ],
    "sata0": [
        (
            f"sata3: {DISK},ssd=1",
            "ide-hd,bus=ahci0.3,drive=drive-sata3,id=sata3,write-cache=on,rotation_rate=1",
        )
    ],
    "scsi0": [
        (
            f"scsi0: {DISK},vendor=ACME,product=Disk,wwn=0x5000c50015ea71ac",
            "id=scsi0,write-cache=on,vendor=ACME,product=Disk,wwn=0x5000c50015ea71ac",
        ),
        (
            f"scsihw: virtio-scsi-single\nscsi1: {DISK},queues=4",
            "id=virtioscsi1,bus=pci.3,addr=0x2,num_queues=4",
        ),
        (f"scsi0: {DISK},ro=1", '"read-only":true'),
        (f"scsi0: {DISK},aio=threads,cache=directsync", '"aio":"threads","cache":{"direct":true'),
    ],
    "scsihw": [(f"scsihw: megasas\nscsi0: {DISK}", "-device megasas,id=scsihw0")],
    "serial0": [
        ("serial1: socket", "isa-serial,chardev=serial1,index=1"),
        ("serial0: /dev/ttyS0", "serial,id=serial0,path=/dev/ttyS0"),
    ],
    "smbios1": [(f"smbios1: uuid={UUID},serial=a", f"-smbios type=1,uuid={UUID},serial=a")],
    "sockets": [("sockets: 2\ncores: 2", "-smp 4,sockets=2,cores=2,maxcpus=4")],
    "startdate": [("startdate: 2026-11-28T12:00:00", "-rtc base=2026-11-28T12:00:00")],
    "tablet": [("tablet: 1", "usb-tablet,id=tablet")],
    "tdf": [("tdf: 1", "-rtc base=utc,driftfix=slew")],
    "tpmstate0": [(f"tpmstate0: {DISK},version=v2.0", "tpm-tis,tpmdev=tpmdev")],
    "vcpus": [("cores: 4\nvcpus: 2", "-smp 2,sockets=1,cores=4,maxcpus=4")],
    "spice_enhancements": [
        (
            "vga: qxl\nspice_enhancements: videostreaming=all",
            "port=0,disable-ticketing=on,streaming-video=all",
        ),
        (
            "vga: qxl\nspice_enhancements: foldersharing=1",
            "spiceport,id=folder,name=org.spice-space.webdav.0",
        ),
    ],
    "vga": [("vga: qxl,memory=32", "qxl-vga,id=vga,bus=pci.0,addr=0x2,vgamem_mb=32")],
    "virtio0": [
        (
            f"virtio0: {DISK},discard=on,rerror=stop,werror=enospc",
            "id=virtio0,write-cache=on,rerror=stop,werror=enospc",
        ),
        (f"virtio0: {DISK},discard=on", '"discard":"unmap","read-only":false,"detect-zeroes":"unmap"'),
        (f"virtio0: {DISK},cache=unsafe", '"no-flush":true'),
    ],
    "vmgenid": [(f"vmgenid: {UUID}", f"vmgenid,guid={UUID}")],
    "watchdog": [("watchdog: i6300esb,action=pause", "-action watchdog=pause")],
}
"""Lines of a configuration, and what of QEMU's command line they must make."""

LEFT_OUT = [
    (f"virtio0: {DISK},detect_zeroes=0", "detect-zeroes"),
    ("tablet: 0", "usb-tablet"),
    ("balloon: 0", "virtio-balloon-pci"),
    ("ostype: win11\nkvm: 0", "hv-"),
    ("ostype: wxp\nkvm: 1", "hv-"),
    ("ostype: l26\nkvm: 1", "hv-"),
]
"""Lines that take something away."""

ELSEWHERE = {
    "arch": "x86_64 is the only one that is taken",
    "affinity": "the threads of QEMU are bound (machine/process.py)",
    "autostart": "nothing: kept for old configurations, onboot decides",
    "balloon": "QMP, and no device with 0 (LEFT_OUT)",
    "cdrom": "another word for ide2 (guests/disks.py)",
    "cicustom": "cloud-init", "cipassword": "cloud-init", "citype": "cloud-init",
    "ciupgrade": "cloud-init", "ciuser": "cloud-init", "ipconfig0": "cloud-init",
    "nameserver": "cloud-init", "searchdomain": "cloud-init", "sshkeys": "cloud-init",
    "cpulimit": "the scope's CPU quota (machine/launcher.py)",
    "cpuunits": "the scope's CPU weight (machine/launcher.py)",
    "description": "a note", "tags": "a note",
    "freeze": "the guest is not let run at its start (manager.py)",
    "hookscript": "a program at start and stop (hooks.py)",
    "hotplug": "what may be plugged (machine/hotplug.py)",
    "import-working-storage": "create alone",
    "keephugepages": "goes with hugepages, which are refused",
    "lock": "refuses operations", "protection": "refuses removal", "template": "refuses a start",
    "migrate_downtime": "QMP at a migration", "migrate_speed": "QMP at a migration",
    "onboot": "started with the node", "startup": "the order of starts",
    "shares": "kept: memory is not moved between guests by itself",
    "usb0": "opened by the daemon and handed over: test_usb.py",
    "unused0": "a volume that is plugged nowhere",
    "vmstatestorage": "where a snapshot's memory goes",
}  # fmt: skip
REFUSED = (
    "amd-sev",
    "hostpci0",
    "hugepages",
    "intel-tdx",
    "ivshmem",
    "parallel0",
    "virtiofs0",
)
"""Hardware that a start refuses with a sentence."""

WRONG = {
    "acpi": "maybe", "affinity": "3-1", "agent": "1,type=pci", "allow-ksm": "perhaps", "amd-sev": "=some",
    "arch": "aarch64",
    "args": "a\x01b", "audio0": "device=gus", "autostart": "x", "balloon": "-1", "bios": "award",
    "boot": "order=floppy0", "bootdisk": "floppy0", "cdrom": "nowhere", "cicustom": "user=/etc/passwd",
    "cipassword": "a\x00b", "citype": "ec2", "ciupgrade": "x", "ciuser": "a:b", "cores": "0",
    "cpu": "max,phys-bits=99", "cpulimit": "129", "cpuunits": "0", "description": None,
    "efidisk0": "local:1,efitype=8m",
    "freeze": "x", "hookscript": "/root/x", "hostpci0": "=some", "hotplug": "disk,floppy", "hugepages": "4",
    "ide0": f"{DISK},cache=fast", "import-working-storage": None, "intel-tdx": "=some",
    "ipconfig0": "ip=1.2.3", "ivshmem": "=some", "keephugepages": "x", "keyboard": "klingon", "kvm": "x",
    "localtime": "x", "lock": "forever", "machine": "pc,viommu=intel", "memory": "15",
    "migrate_downtime": "2001", "migrate_speed": "-1", "name": "-web-",
    "nameserver": "dns.example", "net0": "wifi=BC:24:11:00:00:01", "numa": "x", "numa0": "memory=1",
    "onboot": "x",
    "ostype": "beos", "parallel0": "/dev/null", "protection": "x", "reboot": "x", "rng0": "/dev/zero",
    "sata0": f"{DISK},wwn=12", "scsi0": f"{DISK},vendor=TooLongAName", "scsihw": "ncr",
    "searchdomain": "a b!",
    "serial0": "pty", "shares": "50001", "smbios1": "uuid=1", "sockets": "65",
    "spice_enhancements": "videostreaming=some",
    "sshkeys": "no%20key", "startdate": "yesterday", "startup": "order=first", "tablet": "x", "tags": "a,,!",
    "tdf": "x", "template": "x", "tpmstate0": "local:1,version=v3", "unused0": "nothing", "usb0": "mouse",
    "vcpus": "0", "vga": "cga", "virtio0": f"{DISK},queues=1", "virtiofs0": "=some", "vmgenid": "2",
    "vmstatestorage": "/mnt", "watchdog": "model=ib700,action=bark",
}  # fmt: skip
"""A wrong value of each option; ``None``: any text is right."""


def families() -> list[str]:
    """Every option once; of numbered ones the first."""
    names = options.names()
    return [name for name in names if re.sub(r"\d+$", "0", name) in (name, name + "0") or
            re.sub(r"\d+$", "0", name) not in names]  # fmt: skip


def test_every_option_has_its_place() -> None:
    places = [*ON_THE_COMMAND_LINE, *ELSEWHERE, *REFUSED]
    assert sorted(places) == sorted({*families(), "unused0"})


@pytest.mark.parametrize(
    ("text", "made"),
    [row for rows in ON_THE_COMMAND_LINE.values() for row in rows],
    ids=lambda text: text[:40],
)
def test_a_right_value_reaches_the_command_line(text: str, made: str) -> None:
    assert made in " ".join(build(text + "\n")) + " "


@pytest.mark.parametrize(("text", "gone"), LEFT_OUT)
def test_a_value_that_takes_something_away(text: str, gone: str) -> None:
    assert gone not in " ".join(build(text + "\n"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"scsi0: {DISK},snapshot=1", "scsi0: snapshot=1: not supported by this version; remove it"),
        (f"scsi0: {DISK},scsiblock=1", "scsi0: scsiblock=1: not supported by this version; remove it"),
        ("hugepages: 2", "hugepages: not supported by this version; remove it"),
        ("virtiofs0: dirid=a", "virtiofs0: not supported by this version; remove it"),
    ],
)
def test_what_can_not_be_made_is_refused_at_the_start(text: str, why: str) -> None:
    with pytest.raises(GuestConfigError, match=re.escape(why)):
        build(text + "\n")


def test_every_option_has_a_wrong_value_here() -> None:
    assert sorted(WRONG) == sorted({*families(), "unused0"})


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, value in WRONG.items() if value is not None]
)
def test_a_wrong_value_is_one_sentence(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"key '{key}'") as error:
        options.check(key, value)
    told = str(error.value)
    assert "; allowed: " in told
    assert any(word in told for word in re.findall(r"[A-Za-z0-9-]+", value)), told
    assert len(told.splitlines()) == 1


def test_printed_back_unchanged() -> None:
    for rows in ON_THE_COMMAND_LINE.values():
        for text, _ in rows:
            lines = "".join(f"{line}\n" for line in sorted(text.splitlines()))
            assert GuestConfig.parse(100, lines).document.render() == lines


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(guests_world.QEMU), reason="no qemu-system-x86_64 here")
async def test_a_real_qemu_takes_what_the_options_make(tmp_path: Path) -> None:
    world = guests_world.World(tmp_path, await guests_world.qemu_facts())
    await world.setup()
    try:
        node = world.nodes["n1"]
        volumes = [await node.storages.get("shared").allocate(100, 1 << 20, "raw") for _ in range(4)]
        disks = (
            f"scsi0: {volumes[0]},vendor=ACME,product=Disk,wwn=0x5000c50015ea71ac,werror=stop,rerror=report",
            f"scsi1: {volumes[1]},queues=4,ro=1,serial=a%20b,detect_zeroes=0",
            f"ide0: {volumes[2]},model=Disk%20of%20mine,wwn=0x5000c50015ea71ad",
            f"virtio0: {volumes[3]},werror=enospc,iops_rd=100,iops_rd_max=200,iops_rd_length=5",
        )
        lines = (
            "allow-ksm: 0",
            "balloon: 16",
            "memory: 32",
            "scsihw: virtio-scsi-single",
            "vga: none",
            *disks,
        )
        await world.shared.write("nodes/n1/qemu-server/100.conf", "".join(f"{line}\n" for line in lines))
        await node.manager.start(100)
        guest = node.manager.need_running(100)
        blocks = await guest.monitor.execute("query-block")
        told = {key: one for one in blocks for key in ("scsi1", "virtio0") if key in one["qdev"]}
        assert told["virtio0"]["inserted"]["iops_rd_max_length"] == 5
        assert told["scsi1"]["inserted"]["ro"] is True
        await node.manager.stop(100)
    finally:
        await world.close()
