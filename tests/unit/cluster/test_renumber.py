"""Guests get other ids with all that is theirs, on a real directory, and back again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvorum.cluster.change import RENUMBER, Cluster, cluster_on, join, recover
from kvorum.cluster.renumber import Renumbering, carry_out, draft, free_ids
from kvorum.cluster.sequence import SequenceFailed
from kvorum.core.errors import Conflict, KvorumError
from kvorum.core.paths import Paths
from kvorum.storage import Storages
from kvorum.store.memory import MemoryStore

GUEST = """#the disk of local:100/vm-100-disk-0.raw is large
boot: order=scsi0
memory: 64
parent: before
scsi0: local:100/vm-100-disk-0.raw,size=1M
scsi1: file=local:101/vm-101-disk-0.raw,size=1M
unused0: local:100/vm-100-disk-9.raw

[before]
memory: 32
scsi0: local:100/vm-100-disk-0.raw,size=1M
vmstate: local:100/vm-100-state-before.raw
"""
OTHER = "memory: 64\nscsi0: local:101/vm-101-disk-0.raw,size=1M\n"
DISKS = (
    "100/vm-100-disk-0.raw",
    "100/vm-100-disk-9.raw",
    "100/vm-100-state-before.raw",
    "101/vm-101-disk-0.raw",
)
OWN = {"100": GUEST, "101": OTHER}
STRAY = "100/vm-100-disk-5.raw"
"""A volume that no configuration names."""


class PowerCut(BaseException):
    """The daemon ends here."""


class Node:
    """A node with two guests on a directory."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths.under(root)
        self.store = MemoryStore("n2")
        self.storages = Storages(self.store, self.paths)
        self.images = root / "vz" / "images"

    async def begin(self) -> None:
        text = f"dir: local\n\tpath {self.images.parent}\n\tcontent images,iso\n"
        await self.store.write("storage.cfg", text)
        await self.store.write("nodes/n2/qemu-server/100.conf", GUEST)
        await self.store.write("nodes/n2/qemu-server/101.conf", OTHER)
        for name in (*DISKS, STRAY):
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_text(f"bytes of {name}")

    def files(self) -> dict[str, str]:
        return {str(p.relative_to(self.images)): p.read_text() for p in self.images.rglob("*") if p.is_file()}

    def guests(self) -> dict[str, str]:
        folder = "nodes/n2/qemu-server"
        found = ((name, self.store.read(f"{folder}/{name}")) for name in self.store.names(folder))
        return {name: file.text for name, file in found if file is not None}


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    it = Node(tmp_path)
    await it.begin()
    return it


def is_as_before(node: Node) -> bool:
    assert node.files() == {name: f"bytes of {name}" for name in (*DISKS, STRAY)}
    assert node.guests() == {"100.conf": GUEST, "101.conf": OTHER}
    return True


def is_moved(node: Node) -> bool:
    """VM 100 is VM 103, with all its disks, and VM 101 stayed."""
    moved = {name.replace("100", "103"): f"bytes of {name}" for name in (*DISKS, STRAY)}
    assert node.files() == moved
    text = GUEST.replace("local:100/vm-100-", "local:103/vm-103-")
    text = text.replace("#the disk of local:103/vm-103-", "#the disk of local:100/vm-100-")
    assert node.guests() == {"103.conf": text, "101.conf": OTHER}
    assert not (node.images / "100").exists()
    return True


async def test_a_guest_moves_with_its_disks_its_snapshots_and_what_nobody_names(node: Node) -> None:
    what = await draft(node.storages, OWN, ("100", "102"))
    assert what.vmids == {"100": "103"} and len(what.volumes) == 4
    await carry_out(what, node.store, node.storages)
    assert is_moved(node)
    await carry_out(what.back, node.store, node.storages)
    assert is_as_before(node)


async def test_a_disk_that_two_guests_name_has_its_new_name_in_both(node: Node) -> None:
    what = await draft(node.storages, OWN, ("101",))
    await carry_out(what, node.store, node.storages)
    assert node.guests()["100.conf"] == GUEST.replace("local:101/vm-101", "local:102/vm-102")
    assert "local:102/vm-102-disk-0.raw" in node.guests()["102.conf"]


async def test_where_nothing_clashes_nothing_is_done(node: Node) -> None:
    assert await draft(node.storages, OWN, ("200",)) == Renumbering()
    await carry_out(Renumbering(), node.store, node.storages)
    assert is_as_before(node)


async def test_an_id_whose_disks_lie_somewhere_is_not_free(node: Node) -> None:
    (node.images / "102").mkdir()
    (node.images / "102/vm-102-disk-0.raw").write_text("of a guest that is gone")
    assert (await draft(node.storages, {"100": GUEST}, ("100", "101"))).vmids == {"100": "103"}


async def test_what_stands_in_the_way_is_all_said_and_nothing_is_done(node: Node) -> None:
    (node.images / "100/base-100-disk-1.raw").write_text("a template's")
    file = node.store.read("storage.cfg")
    assert file is not None
    await node.store.write("storage.cfg", file.text + "\nnfs: far\n\tpath /mnt/far\n\tcontent images\n")
    there = {"100": GUEST + "scsi7: far:100/vm-100-disk-0.raw\n"}
    with pytest.raises(Conflict) as refused:
        await draft(node.storages, there, ("100",))
    assert "kind 'nfs', which is not supported" in str(refused.value)
    assert "base-100-disk-1.raw' is a template's disk" in str(refused.value)


async def test_a_name_that_is_taken_keeps_both_files(node: Node) -> None:
    what = await draft(node.storages, {"100": GUEST}, ("100", "101", "102"))
    taken = node.images / "103" / "vm-103-disk-9.raw"
    taken.parent.mkdir()
    taken.write_text("another's")
    with pytest.raises(KvorumError, match=r"vm-103-disk-9.raw' is there already"):
        await carry_out(what, node.store, node.storages)
    assert taken.read_text() == "another's" and (node.images / "100/vm-100-disk-9.raw").exists()


def test_ids_are_the_lowest_free_ones_in_order() -> None:
    assert free_ids(["1000", "100"], ["100", "101", "1000"]) == {"100": "102", "1000": "103"}


@pytest.mark.parametrize("back", [False, True])
async def test_broken_off_at_any_moment_both_ways_are_open(tmp_path: Path, back: bool) -> None:
    moment = 0
    while True:
        node = Node(tmp_path / str(moment))
        await node.begin()
        what = await draft(node.storages, OWN, ("100", "102"))
        if not await _cut(node, what, moment):
            break
        await carry_out(what.back if back else what, node.store, node.storages)
        assert is_as_before(node) if back else is_moved(node)
        moment += 1
    assert moment == 6  # before and after the transaction, and at each of four disks


async def _cut(node: Node, what: Renumbering, moment: int) -> bool:
    """Carry it out up to a moment; whether there was such a moment."""
    left = moment

    class Cut(Storages):
        def of(self, volume):  # type: ignore[no-untyped-def]
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1
            return super().of(volume)

    original = node.store.transact

    async def transact(*args: object, **more: object) -> int:
        nonlocal left
        if left == 0:
            raise PowerCut
        done = await original(*args, **more)  # type: ignore[arg-type]
        if left == 1:
            raise PowerCut
        return done

    node.store.transact = transact  # type: ignore[method-assign]
    try:
        await carry_out(what, node.store, Cut(node.store, node.paths))
    except PowerCut:
        return True
    finally:
        node.store.transact = original  # type: ignore[method-assign]
    return False


@pytest.mark.parametrize("ends", [False, True])
async def test_a_join_that_fails_gives_the_guests_their_ids_back(
    node: Node, make_joining: Callable[[Node], Cluster], ends: bool
) -> None:
    cluster = make_joining(node)
    what = await draft(node.storages, OWN, ("100", "102"))
    peer, log = Peer(node, ends), list[str]()
    with pytest.raises(PowerCut if ends else SequenceFailed):
        await join(cluster, peer, log.append, None, what)
    assert log[0] == RENUMBER and peer.saw_moved
    if ends:
        with pytest.raises(SequenceFailed, match="broken off"):
            await recover(cluster, log.append)
    assert is_as_before(node)


class Peer:
    """Takes nobody in."""

    def __init__(self, node: Node, ends: bool) -> None:
        self.node, self.ends, self.saw_moved = node, ends, False

    async def admit(self) -> dict[str, str]:
        self.saw_moved = is_moved(self.node)
        if self.ends:
            raise PowerCut
        raise Conflict("no quorum")

    async def withdraw(self) -> None: ...


@pytest.fixture
def make_joining() -> Callable[[Node], Cluster]:
    return lambda node: cluster_on(node.store, node.paths)
