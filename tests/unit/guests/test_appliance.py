"""A guest is made from an appliance: from storage content by its metadata, or from a path by root."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from guests_world import Lines, MemoryStore, Node
from stand_ins import Everything

from kvorum.core.errors import KvorumError
from kvorum.guests.methods import appliance, configuration
from kvorum.guests.unfinished import Unfinished
from kvorum.interface import Context, Identity, Services
from kvorum.storage import NotAnAppliance, Storages
from kvorum.storage.methods import appliance as content

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")

RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
OVF = f"""<Envelope xmlns:rasd="{RASD}">
<References><File id="f" href="disk.img"/></References>
<DiskSection><Disk diskId="d" fileRef="f"/></DiskSection>
<VirtualSystem id="web"><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
<rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>20</rasd:ResourceType></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType>
<rasd:Parent>2</rasd:Parent><rasd:HostResource>ovf:/disk/d</rasd:HostResource></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType></Item>
<Item><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>""".encode()
DISK = b"boot".ljust(510, b"\0") + b"\x55\xaa" + b"\0" * (2 << 20)
FACTS: Any = None
"""Nothing is started here."""


class World:
    """One node, whose storage ``local`` has an appliance; the same lies in ``/appliance``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore("n1")
        self.node = Node("n1", root / "node", self.store, FACTS)
        services = Services()
        for kind, service in (
            (type(self.node.manager), self.node.manager),
            (Storages, self.node.storages),
            (Unfinished, self.node.unfinished),
        ):
            services.add(kind, service)
        self.context = Context(self.node.store, services, Identity("root@pam"), Everything())
        self.log = Lines()

    async def setup(self) -> None:
        await self.store.write("storage.cfg", f"dir: local\n\tpath {self.root}/vz\n\tcontent images,import\n")
        for folder in ("vz/import", "appliance"):
            (self.root / folder).mkdir(parents=True)
        with tarfile.open(self.root / "vz/import/x.ova", "w") as tar:
            for name, data in (("x.ovf", OVF), ("disk.img", DISK)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        (self.root / "appliance/x.ovf").write_bytes(OVF)
        (self.root / "appliance/disk.img").write_bytes(DISK)

    async def import_ovf(self, manifest: str, **more: object) -> None:
        values = {"node": "n1", "vmid": 100, "manifest": manifest, "storage": "local", **more}
        work = await appliance.import_ovf(self.context, appliance.OvfParameters.model_validate(values))
        await work.run(self.log)

    @property
    def settings(self) -> dict[str, str]:
        return dict(self.node.manager.registry.config(100).settings)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.setup()
    return world


async def test_what_the_metadata_says_makes_the_guest(world: World) -> None:
    asked = content.MetadataParameters(node="n1", storage="local", volume="import/x.ova")
    found = await content.metadata(world.context, asked)
    assert found == {
        "type": "vm",
        "source": "esxi",
        "create-args": {"cores": 2, "memory": 512, "name": "web", "boot": "order=sata0"},
        "disks": {"sata0": "local:import/x.ova/disk.img"},
        "net": {"net0": {"model": "e1000"}},
        "warnings": [{"type": "cdrom-image-ignored"}],
    }
    disks = {key: f"local:0,import-from={volume},format=qcow2" for key, volume in found["disks"].items()}
    values = {"node": "n1", "vmid": 100, **found["create-args"], **disks}
    work = await configuration.create(world.context, configuration.CreateParameters.model_validate(values))
    await work.run(world.log)
    assert world.settings["sata0"].startswith("local:100/vm-100-disk-0.qcow2,size=")
    assert world.settings["name"] == "web"


@pytest.mark.parametrize("manifest", ["appliance/x.ovf", "vz/import/x.ova"])
async def test_root_makes_a_guest_from_a_path(world: World, manifest: str) -> None:
    path = str(world.root / manifest)
    await world.import_ovf(path, dryrun=True, format="qcow2")
    assert "cores: 2" in world.log.lines and world.node.manager.registry.vmids() == []
    await world.import_ovf(path, format="qcow2")
    assert world.settings["sata0"].startswith("local:100/vm-100-disk-0.qcow2,size=")
    assert world.settings["net0"].startswith("e1000=BC:24:11:")


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ("import/nothing.ova", "can't be read"),
        ("import/x.iso", "no appliance"),
        ("iso/x.ova", "no appliance"),
        ("other:import/x.ova", "no appliance"),
        ("import/../x.ova", "leaves the storage"),
    ],
)
async def test_what_is_no_appliance_is_refused(world: World, volume: str, said: str) -> None:
    with pytest.raises(KvorumError) as error:
        await content.metadata(
            world.context, content.MetadataParameters(node="n1", storage="local", volume=volume)
        )
    assert said in f"{error.value} {getattr(error.value, 'errors', '')}"


async def test_a_manifest_without_its_disk_makes_nothing(world: World) -> None:
    (world.root / "appliance/disk.img").unlink()
    with pytest.raises(KvorumError, match=r"disk\.img"):
        await world.import_ovf(str(world.root / "appliance/x.ovf"))
    assert world.node.manager.registry.vmids() == []
    (world.root / "appliance/x.ovf").write_bytes(b"<a/>")
    with pytest.raises(NotAnAppliance):
        await world.import_ovf(str(world.root / "appliance/x.ovf"))
    with pytest.raises(KvorumError):
        await world.import_ovf("x.ovf")
