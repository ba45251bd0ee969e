"""Walks the steps of changes of a guest on a real node: its power goes at one of them, then all is looked at.

Afterwards the guest must be as before or as after, with what its disks held, and start; whatever was
half-made is gone without anybody's doing; and a second try works. The store and the disks lie on disks that
forget what was not synced (``kvorum.lab.lossy``), each on its own: a sync of one says nothing of the other.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from held import GUESTS, arm, held, hold_daemons
from lab_cluster import Cluster

from kvorum.lab import LabError

NODE = "n1"
WHOLE_S = 60.0
"""How long after the power is back everything may take to be whole."""
COMMAND_S = 90.0

DISK = """[Unit]
Description=A disk that forgets what was not synced
Before=pvedaemon.service
[Service]
Type=exec
ExecStartPre=/usr/bin/mkdir -p /var/lib/walk/disk /mnt/walk
ExecStart=/bin/sh -c 'exec /usr/lib/kvorum/bin/python -I -m kvorum.lab.lossy /var/lib/walk/disk /mnt/walk 1'
ExecStartPost=/bin/sh -c 'until mountpoint -q /mnt/walk; do sleep 0.05; done'
ExecStartPost=/usr/bin/mkdir -p /mnt/walk/one /mnt/walk/two
ExecStartPost=/bin/chmod 0711 /mnt/walk /mnt/walk/one /mnt/walk/two
[Install]
RequiredBy=pvedaemon.service
"""

MAKE = """
import os, shutil, subprocess, sys
snapshots = int(sys.argv[1])
def io(path, kind, *commands):
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", kind, *words, path], check=True, stdout=subprocess.DEVNULL)
def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
for vmid in (101, 100):
    for node in (f"/etc/pve/nodes/n1/qemu-server/{vmid}.conf",):
        if os.path.exists(node):
            os.unlink(node)
for storage in ("one", "two"):
    shutil.rmtree(f"/mnt/walk/{storage}/images", ignore_errors=True)
shutil.rmtree("/var/lib/vz/images/100", ignore_errors=True)
os.makedirs("/mnt/walk/one/images/100")
os.chmod("/mnt/walk/one/images", 0o711)
os.chmod("/mnt/walk/one/images/100", 0o711)
text = "memory: 32\\nvga: none\\nscsihw: virtio-scsi-pci\\nvmstatestorage: local\\n"
for number, kind in enumerate(("qcow2", "qcow2" if snapshots else "raw")):
    name = f"vm-100-disk-{number}.{kind}"
    path = f"/mnt/walk/one/images/100/{name}"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, path, "4M"], check=True)
    io(path, kind, f"write -P {number + 1} 0 3M")
    if snapshots:
        subprocess.run(["qemu-img", "snapshot", "-c", "old", path], check=True)
        io(path, kind, f"write -P {number + 11} 0 3M")
    sync(path)
    text += f"scsi{number}: one:100/{name},size=4M\\n"
if snapshots:
    os.makedirs("/var/lib/vz/images/100")
    with open("/var/lib/vz/images/100/vm-100-state-old.raw", "wb") as file:
        file.truncate(1 << 20)
    text = text + "parent: old\\n\\n[old]\\n" + text + "snaptime: 1700000000\\n"
    if snapshots == 2:
        text += "vmstate: local:100/vm-100-state-old.raw\\n"
    else:
        shutil.rmtree("/var/lib/vz/images/100")
sync("/mnt/walk")
with open("/etc/pve/nodes/n1/qemu-server/100.conf", "w") as file:
    file.write(text)
"""

LOOK = """
import json, glob, os, re, subprocess
def text(path):
    try:
        return open(path).read()
    except OSError:
        return None
def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True)
def holds(path, kind):
    reads = ("-c", "read -v 0 16", "-c", "read -v 3145712 16")
    shown = run("qemu-io", "-r", "-U", "-f", kind, *reads, path)
    found = re.findall(r"^[0-9a-f]{8}:  (..)", shown.stdout, flags=re.M)
    return sorted({int(byte, 16) for byte in found}) if len(found) == 2 else shown.stdout + shown.stderr
LOCKED = r"^(lock: (?!suspended$)|snapstate:)"
places = {"one": "/mnt/walk/one", "two": "/mnt/walk/two", "local": "/var/lib/vz"}
guests = {int(os.path.basename(p)[:-5]): text(p) for p in glob.glob("/etc/pve/nodes/n1/qemu-server/*.conf")}
files = set()
for place in places.values():
    files |= {p for p in glob.glob(f"{place}/images/10[01]/*")}
named, disks, broken = set(), {}, []
for vmid, conf in guests.items():
    disks[vmid] = {}
    main = conf.partition("\\n[")[0]
    for storage, name in set(re.findall(r"(one|two|local):(\\S+?)(?:,|$)", conf, flags=re.M)):
        path = f"{places[storage]}/images/" + "/".join(name.split("/")[-2:])
        named.add(path)
        if not os.path.exists(path):
            broken.append(f"{path} is not there")
    drives = r"^((?:scsi|unused)\\d): (one|two|local):([^,\\s]+)"
    for key, storage, name in re.findall(drives, main, flags=re.M):
        path = f"{places[storage]}/images/" + "/".join(name.split("/")[-2:])
        kind = path.rpartition(".")[2]
        disks[vmid][key] = holds(path, kind)
        if kind == "qcow2":
            check = run("qemu-img", "check", "-U", "-f", "qcow2", path)
            if check.returncode not in (0, 3):  # 3: clusters lost, which harm nobody
                broken.append(f"{path}: {check.stdout}{check.stderr}")
            shown = run("qemu-img", "info", "-U", "--output=json", path)
            if shown.returncode:
                broken.append(f"{path}: {shown.stderr}")
            told = json.loads(shown.stdout or "{}")
            inside = sorted(snapshot["name"] for snapshot in told.get("snapshots", []))
            if inside != sorted(re.findall(r"^\\[(?!PENDING)(\\S+)\\]", conf, flags=re.M)):
                broken.append(f"{path} holds the snapshots {inside}")
notes = {p: text(p) for what in ("unfinished", "half-made") for p in glob.glob(f"/var/lib/kvorum/{what}/*")}
print(json.dumps({
    "guests": guests,
    "disks": disks,
    "broken": broken,
    "nobody's": sorted(files - named),
    "notes": notes,
    "locked": [vmid for vmid, conf in guests.items() if re.search(LOCKED, conf, flags=re.M)],
}))
"""

READY = "pvesh get /nodes/n1/qemu --output-format json >/dev/null 2>&1"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of VM 100, and what it makes of it."""

    command: Sequence[str]
    running: bool = False
    snapshots: int = 0
    """1: there is the snapshot ``old``; 2: with memory."""
    before: Sequence[Sequence[str]] = ()
    """What is done first, while nothing is held."""


_SUSPEND = ("qm", "suspend", "100", "--todisk", "1")
"""Memory goes to ``local``, as a snapshot's: a disk that forgets has no room for it."""
CHANGES = {
    "full clone": Change(("qm", "clone", "100", "101", "--full", "1", "--storage", "two")),
    "full clone of a running guest": Change(
        ("qm", "clone", "100", "101", "--full", "1", "--storage", "two"), running=True
    ),
    "linked clone": Change(("qm", "clone", "100", "101"), before=(("qm", "template", "100"),)),
    "template": Change(("qm", "template", "100")),
    "move": Change(("qm", "disk", "move", "100", "scsi0", "two", "--delete", "1")),
    "move of a running guest's disk": Change(
        ("qm", "disk", "move", "100", "scsi0", "two", "--delete", "1"), running=True
    ),
    "move of a running guest's disk that stays": Change(
        ("qm", "disk", "move", "100", "scsi1", "two", "--format", "qcow2"), running=True
    ),
    "snapshot": Change(("qm", "snapshot", "100", "new"), snapshots=1),
    "snapshot of a running guest": Change(("qm", "snapshot", "100", "new"), running=True, snapshots=1),
    "snapshot with memory": Change(
        ("qm", "snapshot", "100", "new", "--vmstate", "1"), running=True, snapshots=1
    ),
    "suspension to disk": Change(_SUSPEND, running=True),
    "waking from disk": Change(("qm", "start", "100"), before=(("qm", "start", "100"), _SUSPEND)),
    "deletion of a snapshot": Change(("qm", "delsnapshot", "100", "old"), snapshots=2),
    "deletion of a running guest's snapshot": Change(
        ("qm", "delsnapshot", "100", "old"), running=True, snapshots=2
    ),
    "rollback": Change(("qm", "rollback", "100", "old"), snapshots=1),
    "rollback of a running guest": Change(("qm", "rollback", "100", "old"), running=True, snapshots=1),
}


@dataclass(frozen=True, slots=True)
class Case:
    """The power goes at a point of a change."""

    change: str
    point: str

    def __str__(self) -> str:
        return f"{self.change}: cut {self.point}"


@dataclass
class Walk:
    """A node of its own, with VM 100 anew for each case."""

    cluster: Cluster
    _points: dict[str, list[str]] = field(default_factory=dict)
    _ends: dict[str, tuple[object, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        say = self.cluster.say
        say(NODE, "sh", "-c", "cat > /etc/systemd/system/walk-disk.service", input=DISK)
        say(NODE, "sh", "-c", "mv /var/lib/kvorum /var/lib/pve-cluster/state && "
            "ln -s pve-cluster/state /var/lib/kvorum && systemctl enable --now walk-disk")  # fmt: skip
        hold_daemons(self.cluster, (NODE,), GUESTS)
        for name in ("one", "two"):
            say(NODE, "pvesm", "add", "dir", name, "--path", f"/mnt/walk/{name}", "--content", "images")

    def points(self, change: str) -> list[str]:
        """Where a change can be cut: before each of its steps, and after the last, by a rehearsal."""
        if change not in self._points:
            before = self._make(change)
            arm(self.cluster, NODE, "nowhere")
            self.cluster.say(NODE, *CHANGES[change].command, timeout_s=COMMAND_S)
            passed = self.cluster.say(NODE, "cat", "/run/walk/passed").split("\n")[:-1]
            self._points[change] = [p for p in passed if p.startswith("before")] + passed[-1:]
            seen = self.look()
            assert not seen["broken"], f"{change}: {seen}"
            self._ends[change] = before, self._state(seen)
            assert self._ends[change][0] != self._ends[change][1], f"{change} changes nothing"
        return self._points[change]

    def sample(self, seed: int, count: int) -> list[Case]:
        """Some cases of different changes, by a seed."""
        chance = random.Random(seed)
        return [Case(name, chance.choice(self.points(name))) for name in chance.sample(list(CHANGES), count)]

    def every(self, change: str) -> list[Case]:
        """All cases of a change."""
        return [Case(change, point) for point in self.points(change)]

    def carry_out(self, case: Case) -> str:
        """Cut the power, give it back, look, try again; says whether the change was in."""
        change = CHANGES[case.change]
        self._make(case.change)
        with ThreadPoolExecutor(1) as pool:
            arm(self.cluster, NODE, case.point)
            told = pool.submit(self._said, change.command)
            with held(self.cluster, NODE):
                self.cluster.lab.cut(NODE)
            _ended(told)
        self.cluster.lab.power(NODE)
        self.cluster.until(NODE, READY, WHOLE_S)
        done = self._whole(case)
        self._starts(case)
        if not done:
            if change.running:
                self.cluster.say(NODE, "qm", "start", "100")
            self.cluster.say(NODE, *change.command, timeout_s=COMMAND_S)
            assert self._whole(case), f"{case}: the second try did nothing"
        return "done" if done else "as before, and the second try works"

    def look(self) -> dict[str, object]:
        """What is there of guests, images and notes."""
        seen: dict[str, object] = json.loads(self.cluster.say(NODE, "python3", "-c", LOOK))
        return seen

    def _make(self, change: str) -> object:
        """VM 100 as the change finds it; what there is to see of it."""
        for vmid in ("100", "101"):
            self.cluster.run(NODE, "sh", "-c", f"test ! -e /run/qemu-server/{vmid}.pid || qm stop {vmid}")
        self.cluster.say(NODE, "python3", "-c", MAKE, str(CHANGES[change].snapshots))
        for command in CHANGES[change].before:
            self.cluster.say(NODE, *command)
        if CHANGES[change].running:
            self.cluster.say(NODE, "qm", "start", "100")
        return self._state(self.look())

    def _said(self, argv: Sequence[str]) -> str:
        try:
            done = self.cluster.run(NODE, *argv, timeout_s=COMMAND_S)
        except LabError as error:
            return str(error)
        return done.stdout + done.stderr

    def _state(self, seen: dict[str, object]) -> object:
        """What tells before from after: the guests, what their disks hold, without what is made at random."""
        guests: dict[str, str] = seen["guests"]  # type: ignore[assignment]
        shown = {
            vmid: sorted(
                line
                for line in text.splitlines()
                if not line.startswith(("snaptime", "vmgenid", "meta", "net"))
            )
            for vmid, text in guests.items()
        }
        return shown, seen["disks"]

    def _whole(self, case: Case) -> bool:
        """Wait until the guest is as before or as after and nothing else is there; whether it is as after."""
        until = time.monotonic() + WHOLE_S
        before, after = self._ends[case.change]
        while True:
            seen = self.look()
            state = self._state(seen)
            clean = not any(seen[what] for what in ("broken", "nobody's", "notes", "locked"))
            if clean and state in (before, after):
                return state == after
            if time.monotonic() > until:
                raise AssertionError(
                    f"{case}: neither as before nor as after {WHOLE_S:g} s later:\n"
                    f"{json.dumps(seen, indent=1)}\nbefore: {before}\nafter: {after}"
                )

    def _starts(self, case: Case) -> None:
        """Each guest starts, but for a template; and stops."""
        guests: dict[str, str] = self.look()["guests"]  # type: ignore[assignment]
        for vmid, text in guests.items():
            if "template: 1" in text:
                continue
            self.cluster.say(NODE, "qm", "start", vmid)
            assert self.cluster.status(NODE, int(vmid)) == "running", case
            self.cluster.say(NODE, "qm", "stop", vmid)


def _ended(told: Future[str]) -> str:
    try:
        return told.result(COMMAND_S + 30)
    except (subprocess.SubprocessError, TimeoutError) as error:
        raise AssertionError(f"the command did not end: {error}") from None
