"""pvedaemon is killed (-9) at any moment of any task: the task is marked, nothing half-made stays, and a
second try works.

The moments come from a seed that is printed; KVORUM_KILL_SEED replays one. Few for each kind of task, a long
walk with KVORUM_SOAK=1; KVORUM_KILL_TIMES says how many.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kvorum.server import rooms

if TYPE_CHECKING:
    from lab_cluster import Cluster

SOAK = bool(os.environ.get("KVORUM_SOAK"))
TIMES = int(os.environ.get("KVORUM_KILL_TIMES", 40 if SOAK else 1))
SEED = int(os.environ.get("KVORUM_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
INTERRUPTED = "interrupted: pvedaemon restarted"

_KILL = """
import http.client, json, os, signal, socket, subprocess, sys, time
verb, path, delay, killed = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
subprocess.run(["systemctl", "reset-failed", "pvedaemon"])  # else systemd waits longer each time
show = ["systemctl", "show", "-P", "MainPID", "pvedaemon"]
pid = int(subprocess.check_output(show))

class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/kvorum/pvedaemon.sock")

def ask(verb, path, body=None):
    kind = {"Content-Type": "application/json"} if body else {}
    asked = Local("localhost", timeout=30)
    try:
        asked.request(verb, "/api2/json" + path, body, kind)
        answer = asked.getresponse()
        return json.loads(answer.read())
    finally:
        asked.close()

asked = ask(verb, path, sys.stdin.read())
upid = asked["data"]
if not upid:
    sys.exit(f"no task: {asked}")
time.sleep(delay)
if killed == "kill":
    os.kill(pid, signal.SIGKILL)
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        status = ask("GET", f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status")["data"]
        log = ask("GET", f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log?limit=0")["data"]
        now = int(subprocess.check_output(show))
        if status["status"] == "stopped" and (killed != "kill" or now not in (0, pid)):
            print(json.dumps([upid, status["exitstatus"], [line["t"] for line in log]]))
            sys.exit()
    except (OSError, http.client.HTTPException):
        pass
    time.sleep(0.02)
sys.exit(f"task {upid} did not end")
"""


@dataclass(frozen=True)
class Ended:
    """How a task ended."""

    upid: str
    status: str
    log: tuple[str, ...]


@dataclass
class Kind:
    """One kind of task: how it is asked for, and what must be so afterwards."""

    declared: str
    """The method, as ``VERB path``."""
    path: str
    body: dict[str, object]
    about_s: float
    """About how long it takes; the daemon is killed within that."""
    before: Callable[[Cluster, int], None] = lambda cluster, vmid: None
    """Makes what the task needs; it must be there afterwards whatever a round before has left."""
    sound: Callable[[Cluster, int, bool], None] = lambda cluster, vmid, done: None
    """Asserts that it is done, or nothing of it is (``done``: it must be)."""
    node: str = "n2"
    daemon: str = "n2"
    """Whose pvedaemon is killed."""
    settles_s: float = 0.0
    """So long two nodes may take to agree after the daemon is back; alone, a node has cleaned up before."""


def ask(cluster: Cluster, kind: Kind, vmid: int, delay_s: float, kill: bool) -> Ended:
    """Begin the task on its node, and kill the daemon a while later."""
    verb, path = kind.declared.split()[0], kind.path.format(vmid=vmid)
    body = kind.body | {"vmid": vmid} if kind.path.endswith("/qemu") else kind.body
    body = {k: v.format(vmid=vmid) if isinstance(v, str) else v for k, v in body.items()}
    argv = ["python3", "-c", _KILL, verb, path, str(delay_s), "kill" if kill else "wait"]
    upid, status, log = json.loads(cluster.say(kind.node, *argv, input=json.dumps(body)))
    return Ended(upid, status, tuple(log))


# What is looked at


def config(cluster: Cluster, vmid: int) -> str | None:
    """The guest's configuration, wherever it is."""
    owner = cluster.owner(vmid)
    assert len(owner) < 2
    return (
        cluster.say(owner[0], "cat", f"/etc/pve/nodes/{owner[0]}/qemu-server/{vmid}.conf") if owner else None
    )


def disks(cluster: Cluster, vmid: int) -> set[str]:
    """All images of the guest, as ``node:name``."""
    found = set()
    for node in ("n1", "n2", "n3"):
        shown = cluster.run(node, "sh", "-c", f"ls -A /var/lib/vz/images/{vmid} 2>/dev/null").stdout
        found |= {f"{node}:{name}" for name in shown.split()}
        folder = cluster.run(node, "test", "-d", f"/var/lib/vz/images/{vmid}").returncode == 0
        assert folder == bool(shown.split()), f"{node}: an empty folder stays"
    return found


def assert_sound(cluster: Cluster, vmid: int) -> str | None:
    """Nothing half: configuration and images agree, no lock, no QEMU that nobody knows, no note, no draft."""
    text, found = config(cluster, vmid), disks(cluster, vmid)
    owner = (cluster.owner(vmid) or [""])[0]
    named = {
        f"{owner}:{word.rpartition('/')[2]}"
        for line in (text or "").splitlines()
        for word in [line.partition(": ")[2].partition(",")[0]]
        if word.startswith("local:") and re.search(rf"/(vm|base)-{vmid}-", word)
    }
    assert found == named, f"images {found}, configuration:\n{text}"
    assert text is None or not re.search(r"^lock: (?!suspended$)", text, flags=re.M), text
    running = text is not None and cluster.status(owner, vmid) == "running"
    for node in ("n1", "n2", "n3"):
        qemus = cluster.run(node, "pgrep", "--uid", str(0x70000000 + vmid)).stdout.split()
        assert len(qemus) == (running and node == owner), f"{node}: QEMUs {qemus}, running: {running}"
        script = (
            f"ls -d /run/qemu-server/{vmid}.* 2>/dev/null | grep -v '[.]log$'; "
            f"ls -d /sys/class/net/tap{vmid}i* 2>/dev/null; "
            "ls /var/lib/kvorum/unfinished /var/lib/kvorum/incoming 2>/dev/null | grep json; "
            f"systemctl --quiet is-active {vmid}.scope && echo {vmid}.scope; "
            "pgrep -x qemu-img"
        )
        shown = cluster.run(node, "sh", "-c", script).stdout.split()
        if running and node == owner:
            shown = [line for line in shown if str(vmid) not in line]
        assert shown == [], f"{node}: {shown}"
    return text


def whole(*needed: str) -> Callable[[Cluster, int, bool], None]:
    """The configuration has these lines when it is done, and the guest had them or not before."""

    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        text = assert_sound(cluster, vmid)
        if done:
            assert text is not None and all(word in text for word in needed), text

    return check


def gone(cluster: Cluster, vmid: int, done: bool) -> None:
    text = assert_sound(cluster, vmid)
    assert text is None or not done, text
    if text is not None:
        assert text.count("local:") == 2, "half of the guest is destroyed"


def dropped(cluster: Cluster, vmid: int, done: bool) -> None:
    text = assert_sound(cluster, vmid)
    assert text is not None and "unused" not in text, text
    assert not done or "scsi1: " not in text, text


def power(state: str) -> Callable[[Cluster, int, bool], None]:
    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        assert_sound(cluster, vmid)
        assert not done or cluster.status(cluster.owner(vmid)[0], vmid) == state

    return check


def asleep(lies: bool) -> Callable[[Cluster, int, bool], None]:
    """The guest lies on disk with its memory, off, or runs and nothing is kept; in the end as ``lies``."""

    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        text = assert_sound(cluster, vmid)
        assert text is not None
        down = "lock: suspended" in text
        assert all((key in text) == down for key in ("vmstate: ", "runningmachine: ", "runningcpu: ")), text
        row = cluster.get("n2", f"/nodes/n2/qemu/{vmid}/status/current")
        assert isinstance(row, dict)
        assert row["qmpstatus"] == ("stopped" if down else "running"), row
        assert down == lies or not done, text

    return check


def at(*nodes: str) -> Callable[[Cluster, int, bool], None]:
    """The guest is on one of these nodes, and on the last when it is done."""

    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        assert_sound(cluster, vmid)
        owner = cluster.owner(vmid)
        assert owner[0] in (nodes[-1:] if done else nodes)

    return check


# What the tasks need


def nothing(cluster: Cluster, vmid: int) -> None:
    cluster.remove(vmid)


def kept(*, runs: bool, taken: bool) -> Callable[[Cluster, int], None]:
    """A guest on n2 whose two disks have snapshots, and the snapshot ``one`` or not."""

    def prepare(cluster: Cluster, vmid: int) -> None:
        number = str(vmid)
        if cluster.owner(vmid) != ["n2"] or "-disk-1.qcow2" not in (config(cluster, vmid) or ""):
            cluster.remove(vmid)
            disks = ("--scsi0", "local:0.01,format=qcow2", "--scsi1", "local:0.01,format=qcow2")
            cluster.create("n2", vmid, *disks, "--net0", "virtio,bridge=vmbr0")
        if runs != (cluster.status("n2", vmid) == "running"):
            cluster.say("n2", "qm", "start" if runs else "stop", number)
        there = "[one]" in (config(cluster, vmid) or "")
        if taken and not there:
            cluster.say("n2", "qm", "snapshot", number, "one")
        elif there and not taken:
            cluster.say("n2", "qm", "delsnapshot", number, "one")

    return prepare


def snapshot(present: bool) -> Callable[[Cluster, int, bool], None]:
    """The guest has the snapshot ``one`` on both disks or on none; in the end, as it is to be."""

    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        text = assert_sound(cluster, vmid)
        assert text is not None and "snapstate" not in text, text
        there = "[one]" in text
        images = f"/var/lib/vz/images/{vmid}"
        script = f"for i in {images}/*.qcow2; do qemu-img info -U $i | grep -c ' one '; done; ls {images}"
        inside, *files = cluster.run("n2", "sh", "-c", script).stdout.split("\n", 2)
        assert [inside, files[0]] == [str(int(there))] * 2, (there, inside, files)
        assert ("-state-one" in files[1]) == (f"vm-{vmid}-state-one" in text), (files, text)
        assert there == present or not done, text

    return check


def no_template(cluster: Cluster, vmid: int) -> None:
    """A guest as ``stopped``, which no killed task has made a template before."""
    if "template: 1" in (config(cluster, vmid) or ""):
        cluster.remove(vmid)
    stopped(cluster, vmid)


def templated(cluster: Cluster, vmid: int, done: bool) -> None:
    text = assert_sound(cluster, vmid)
    assert text is not None
    made = "template: 1" in text
    assert made or not done, text
    assert text.count(f"/base-{vmid}-disk-") == (2 if made else 0), text


def original(cluster: Cluster, vmid: int) -> None:
    """No guest of the id, and another on n2 that it can be cloned from."""
    cluster.remove(vmid)
    if cluster.owner(_ORIGINAL) != ["n2"]:
        disks = ("--scsi0", "local:0,import-from=/root/source.raw", "--scsi1", "local:0.01,format=qcow2")
        cluster.say("n2", "sh", "-c", _IMAGE)
        cluster.create("n2", _ORIGINAL, *disks, "--net0", "virtio,bridge=vmbr0")


_ORIGINAL = 8499


def stopped(cluster: Cluster, vmid: int) -> None:
    """A guest with two local disks on n2, that does not run."""
    if cluster.owner(vmid) != ["n2"] or (config(cluster, vmid) or "").count("scsi") != 2:
        cluster.remove(vmid)
        cluster.create("n2", vmid, "--scsi0", "local:0.01,format=qcow2", "--scsi1", "local:0.01",
                       "--net0", "virtio,bridge=vmbr0")  # fmt: skip
    if cluster.status("n2", vmid) == "running":
        cluster.say("n2", "qm", "stop", str(vmid))


def running(cluster: Cluster, vmid: int) -> None:
    if cluster.owner(vmid) != ["n2"] or cluster.status("n2", vmid) != "running":
        stopped(cluster, vmid)
        cluster.say("n2", "qm", "start", str(vmid))


def suspended(cluster: Cluster, vmid: int) -> None:
    """A guest that lies on disk."""
    if "lock: suspended" not in (config(cluster, vmid) or ""):
        running(cluster, vmid)
        cluster.say("n2", "qm", "suspend", str(vmid), "--todisk", "1", "--statestorage", "local")


def movable_stopped(cluster: Cluster, vmid: int) -> None:
    """A guest whose first disk is qcow2."""
    if f"vm-{vmid}-disk-0.qcow2," not in (config(cluster, vmid) or ""):
        cluster.remove(vmid)
    if "unused" in (config(cluster, vmid) or ""):
        cluster.remove(vmid)
    stopped(cluster, vmid)


def movable(cluster: Cluster, vmid: int) -> None:
    movable_stopped(cluster, vmid)
    running(cluster, vmid)


def importable(cluster: Cluster, vmid: int) -> None:
    stopped(cluster, vmid)
    cluster.say("n2", "sh", "-c", _IMAGE)
    # A round before may have added disks.
    cluster.say("n2", "qm", "set", str(vmid), "--delete", "unused0,scsi2,scsi3", "--force", "1")


_IMAGE = (
    "test -e /root/source.raw || (truncate -s 64M /root/source.raw && "
    "dd if=/dev/urandom of=/root/source.raw bs=1M count=48 seek=8 conv=notrunc status=none)"
)


def loose_volume(cluster: Cluster, vmid: int) -> None:
    cluster.remove(vmid)
    cluster.run("n2", "pvesm", "alloc", "local", str(vmid), f"vm-{vmid}-disk-5.raw", "1024")


def source_volume(cluster: Cluster, vmid: int) -> None:
    loose_volume(cluster, vmid)
    images = f"/var/lib/vz/images/{vmid}"
    script = f"cp /root/source.raw {images}/vm-{vmid}-disk-5.raw; rm -f {images}/vm-{vmid}-disk-6.raw"
    cluster.say("n2", "sh", "-c", f"{_IMAGE}; {script}")


def copied(cluster: Cluster, vmid: int, done: bool) -> None:
    """The source alone, or both and the same; no note, and nobody who writes."""
    source, target = (f"n2:vm-{vmid}-disk-{number}.raw" for number in (5, 6))
    left = disks(cluster, vmid)
    assert left == {source, target} or (left == {source} and not done), left
    if target in left:
        images = f"/var/lib/vz/images/{vmid}"
        cluster.say("n2", "cmp", f"{images}/vm-{vmid}-disk-5.raw", f"{images}/vm-{vmid}-disk-6.raw")
    script = "ls /var/lib/kvorum/half-made 2>/dev/null | grep json; pgrep -x qemu-img"
    assert cluster.run("n2", "sh", "-c", script).stdout == ""


def no_volume(cluster: Cluster, vmid: int, done: bool) -> None:
    """The volume or nothing; a daemon killed between its two removals leaves the folder to the second try."""
    if done:
        assert disks(cluster, vmid) == set()
    else:
        shown = cluster.run("n2", "sh", "-c", f"ls -A /var/lib/vz/images/{vmid} 2>/dev/null").stdout
        assert shown.split() in ([], [f"vm-{vmid}-disk-5.raw"])


def service(active: str) -> Callable[[Cluster, int, bool], None]:
    def check(cluster: Cluster, vmid: int, done: bool) -> None:
        shown = cluster.run("n2", "systemctl", "is-active", "cron").stdout.strip()
        assert shown == active or not done
        assert shown in ("active", "inactive")

    return check


def cron(running: bool) -> Callable[[Cluster, int], None]:
    """The lab's nodes have no cron: a unit of its name stands in."""
    unit = "[Service]\nExecStart=/usr/bin/sleep infinity\n"

    def prepare(cluster: Cluster, vmid: int) -> None:
        cluster.say("n2", "tee", "/run/systemd/system/cron.service", input=unit)
        cluster.say("n2", "systemctl", "daemon-reload")
        cluster.say("n2", "systemctl", "start" if running else "stop", "cron")

    return prepare


_VM = "/nodes/n2/qemu/{vmid}"
KINDS = {
    "create": Kind("POST /nodes/{node}/qemu", "/nodes/n2/qemu", {
        "memory": 64, "scsi0": "local:0.01,format=qcow2", "scsi1": "local:0.01",
        "net0": "virtio,bridge=vmbr0",
    }, 0.12, nothing, whole("scsi0: local:", "scsi1: local:")),
    "create and start": Kind("POST /nodes/{node}/qemu", "/nodes/n2/qemu", {
        "memory": 64, "vga": "none", "scsi0": "local:0.01,format=qcow2", "start": 1,
    }, 0.3, nothing, whole("scsi0: local:")),
    "create by import": Kind("POST /nodes/{node}/qemu", "/nodes/n2/qemu", {
        "memory": 64, "scsi0": "local:0,import-from=/root/source.raw",
    }, 0.2, lambda c, v: (c.say("n2", "sh", "-c", _IMAGE), nothing(c, v))[1], whole("scsi0: local:")),
    "import": Kind("POST /kvorum/nodes/{node}/qemu/{vmid}/import-disk", "/kvorum" + _VM + "/import-disk", {
        "source": "/root/source.raw", "storage": "local",
    }, 0.2, importable, whole("unused0: local:")),
    "drop disks": Kind("POST /nodes/{node}/qemu/{vmid}/config", _VM + "/config", {
        "delete": "scsi1", "force": 1,
    }, 0.03, stopped, dropped),
    "add a disk": Kind("POST /nodes/{node}/qemu/{vmid}/config", _VM + "/config", {
        "scsi2": "local:0.01,format=qcow2", "scsi3": "local:0.01",
    }, 0.06, importable, whole("scsi2: local:", "scsi3: local:")),
    "move a disk": Kind("POST /nodes/{node}/qemu/{vmid}/move_disk", _VM + "/move_disk", {
        "disk": "scsi0", "storage": "local", "format": "raw", "delete": 1,
    }, 0.3, movable, whole("scsi0: local:", "-disk-2.raw")),
    "move a disk, switched off": Kind("POST /nodes/{node}/qemu/{vmid}/move_disk", _VM + "/move_disk", {
        "disk": "scsi0", "storage": "local", "format": "raw",
    }, 0.2, movable_stopped, whole("scsi0: local:", "unused0: local:", "-disk-2.raw")),
    "look for disks": Kind("POST /kvorum/nodes/{node}/rescan", "/kvorum/nodes/n2/rescan", {}, 0.05,
                           stopped, whole("scsi0: local:")),
    "destroy": Kind("DELETE /nodes/{node}/qemu/{vmid}", _VM, {}, 0.03, stopped, gone),
    "snapshot": Kind("POST /nodes/{node}/qemu/{vmid}/snapshot", _VM + "/snapshot", {"snapname": "one"}, 0.15,
                     kept(runs=False, taken=False), snapshot(True)),
    "snapshot with memory": Kind("POST /nodes/{node}/qemu/{vmid}/snapshot", _VM + "/snapshot", {
        "snapname": "one", "vmstate": 1,
    }, 0.6, kept(runs=True, taken=False), snapshot(True)),
    "rollback": Kind("POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
                     _VM + "/snapshot/one/rollback", {}, 0.2, kept(runs=True, taken=True), snapshot(True)),
    "delete a snapshot": Kind("DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}", _VM + "/snapshot/one",
                              {}, 0.15, kept(runs=False, taken=True), snapshot(False)),
    "clone": Kind("POST /nodes/{node}/qemu/{vmid}/clone", f"/nodes/n2/qemu/{_ORIGINAL}/clone", {
        "newid": "{vmid}",
    }, 0.3, original, whole("scsi0: local:", "scsi1: local:")),
    "template": Kind("POST /nodes/{node}/qemu/{vmid}/template", _VM + "/template", {}, 0.1, no_template,
                     templated),
    "start": Kind("POST /nodes/{node}/qemu/{vmid}/status/start", _VM + "/status/start", {}, 0.25, stopped,
                  power("running")),
    "stop": Kind("POST /nodes/{node}/qemu/{vmid}/status/stop", _VM + "/status/stop", {}, 0.1, running,
                 power("stopped")),
    "shutdown": Kind("POST /nodes/{node}/qemu/{vmid}/status/shutdown", _VM + "/status/shutdown",
                     {"forceStop": 1, "timeout": 1}, 1.2, running, power("stopped")),
    "start all": Kind("POST /nodes/{node}/startall", "/nodes/n2/startall", {"vms": "{vmid}"}, 0.25,
                      stopped, power("running")),
    "stop all": Kind("POST /nodes/{node}/stopall", "/nodes/n2/stopall", {"vms": "{vmid}", "timeout": 1}, 1.2,
                     running, power("stopped")),
    "reset": Kind("POST /nodes/{node}/qemu/{vmid}/status/reset", _VM + "/status/reset", {}, 0.01, running,
                  power("running")),
    "suspend": Kind("POST /nodes/{node}/qemu/{vmid}/status/suspend", _VM + "/status/suspend", {}, 0.02,
                    running, power("running")),
    "suspend to disk": Kind("POST /nodes/{node}/qemu/{vmid}/status/suspend", _VM + "/status/suspend",
                            {"todisk": 1, "statestorage": "local"}, 0.6, running, asleep(True)),
    "wake": Kind("POST /nodes/{node}/qemu/{vmid}/status/start", _VM + "/status/start", {}, 0.6, suspended,
                 asleep(False)),
    "resume": Kind("POST /nodes/{node}/qemu/{vmid}/status/resume", _VM + "/status/resume", {}, 0.02,
                   running, power("running")),
    "migrate": Kind("POST /nodes/{node}/qemu/{vmid}/migrate", _VM + "/migrate",
                    {"target": "n3", "online": 1, "with-local-disks": 1}, 1.5, running, at("n2", "n3"),
                    settles_s=20.0),
    "migrate, the target's daemon": Kind("POST /nodes/{node}/qemu/{vmid}/migrate", _VM + "/migrate",
                    {"target": "n3", "online": 1, "with-local-disks": 1}, 1.5, running, at("n2", "n3"),
                    daemon="n3", settles_s=20.0),
    "migrate switched off": Kind("POST /nodes/{node}/qemu/{vmid}/migrate", _VM + "/migrate",
                    {"target": "n3"}, 0.8, stopped, at("n2", "n3"), settles_s=20.0),
    "copy a volume": Kind("POST /nodes/{node}/storage/{storage}/content/{volume}",
                    "/nodes/n2/storage/local/content/local:{vmid}/vm-{vmid}-disk-5.raw",
                    {"target": "local:{vmid}/vm-{vmid}-disk-6.raw"}, 0.2, source_volume, copied),
    "free a volume": Kind("DELETE /nodes/{node}/storage/{storage}/content/{volume}",
                    "/nodes/n2/storage/local/content/local:{vmid}/vm-{vmid}-disk-5.raw", {}, 0.01,
                    loose_volume, no_volume),
    "start a service": Kind("POST /nodes/{node}/services/{service}/start",
                            "/nodes/n2/services/cron/start", {}, 0.06, cron(False), service("active")),
    "stop a service": Kind("POST /nodes/{node}/services/{service}/stop", "/nodes/n2/services/cron/stop", {},
                           0.06, cron(True), service("inactive")),
    "restart a service": Kind("POST /nodes/{node}/services/{service}/restart",
                              "/nodes/n2/services/cron/restart", {}, 0.06, cron(True), service("active")),
    "reload a service": Kind("POST /nodes/{node}/services/{service}/reload",
                             "/nodes/n2/services/cron/reload", {}, 0.06, cron(True), service("active")),
}  # fmt: skip
ELSEWHERE = {
    "POST /nodes/{node}/storage/{storage}/upload": "noted until whole: tests/unit/storage/test_half_made.py",
    "POST /nodes/{node}/storage/{storage}/download-url": "as the upload",
    "DELETE /nodes/{node}/storage/{storage}/prunebackups": "each backup goes by one unlink; the rest stays",
    "POST /nodes/{node}/suspendall": "each guest as by its own suspend",
    "POST /nodes/{node}/migrateall": "each guest as by its own migration",
    **{
        f"POST /cluster/bulk-action/guest/{action}": "it makes nothing: each part is a task of its node"
        for action in ("start", "shutdown", "suspend", "migrate")
    },
    "PUT /nodes/{node}/network": "killed in tests/unit/node/test_network_apply.py and test_node_network.py",
    "POST /cluster/config": "killed in test_create_killed.py",
    "POST /cluster/config/join": "its journal: tests/unit/cluster/test_sequence.py, test_change.py",
    "POST /kvorum/cluster/leave": "broken off at each step in tests/unit/cluster/leave; not killed here yet",
    "POST /kvorum/cluster/votes": "corosync.conf is changed in one write of the store; not killed yet",
    "POST /kvorum/cluster/qdevice": "walked in tests/unit/cluster/qdevice; not killed on real nodes yet",
    "DELETE /kvorum/cluster/qdevice": "walked in tests/unit/cluster/qdevice; not killed on real nodes yet",
    "POST /nodes/{node}/qemu/{vmid}/status/reboot": "a shutdown, then a start: each is killed by itself",
    "PUT /nodes/{node}/qemu/{vmid}/resize": "one command of QEMU's; a noted size that is behind is told anew",
    "POST /kvorum/nodes/{node}/qemu/{vmid}/import-ovf": "a create by import, which is killed by itself",
    "POST /kvorum/cluster/links": "broken off at each step in tests/unit/cluster/relink",
    "PUT /kvorum/cluster/links": "broken off at each step in tests/unit/cluster/relink",
    "DELETE /kvorum/cluster/links/{link}": "broken off at each step in tests/unit/cluster/relink",
    "POST /kvorum/nodes/{node}/rename": "broken off at each step in tests/unit/cluster/rename",
    "POST /kvorum/nodes/{node}/host/down": "as stopall, which is killed",
    "POST /kvorum/nodes/{node}/leftovers": "it settles what is noted, which stays noted until it is settled",
    "POST /kvorum/cluster/adopt": "one write of the store's own; test_adopt.py",
}
"""Declared tasks that are not killed here, and why."""


def test_no_declared_task_is_left_out() -> None:
    declared = {f"{method.verb} {method.path}" for method in rooms.methods() if method.task}
    assert declared == {kind.declared for kind in KINDS.values()} | ELSEWHERE.keys()


@pytest.fixture
def vmid(cluster: Cluster) -> Iterator[int]:
    """An id for a guest that is gone afterwards."""
    number = next(_NUMBERS)
    yield number
    cluster.lab.recover()
    cluster.settled()
    cluster.remove(number)
    cluster.remove(_ORIGINAL)
    for node in ("n1", "n2", "n3"):
        cluster.run(node, "sh", "-c", f"rm -rf /var/lib/vz/images/{number}")
    cluster.run("n2", "sh", "-c", "systemctl stop cron; rm -f /run/systemd/system/cron.service")


_NUMBERS = iter(range(8500, 8600))


@pytest.mark.timeout(4 * 3600 if SOAK else 300)
@pytest.mark.parametrize("name", KINDS)
def test_a_task_whose_daemon_is_killed_is_marked_and_leaves_nothing_half(
    cluster: Cluster, vmid: int, name: str
) -> None:
    kind, moments = KINDS[name], random.Random(f"{SEED} {name}")
    for _ in range(TIMES):
        delay_s = moments.random() * kind.about_s
        told = f"KVORUM_KILL_SEED={SEED} {name}, killed after {delay_s * 1000:.1f} ms"
        print(told)
        kind.before(cluster, vmid)
        try:
            ended = begin_and_kill(cluster, kind, vmid, delay_s)
            cluster.settled()
            print(f"  {ended.status}")
            check_marked(cluster, kind, ended)
            settled(cluster, kind, vmid, ended.status == "OK")
            kind.before(cluster, vmid)
            again = ask(cluster, kind, vmid, 0, kill=False)
            assert again.status == "OK", again
            kind.sound(cluster, vmid, True)
        except BaseException as error:
            error.add_note(told)
            raise


def settled(cluster: Cluster, kind: Kind, vmid: int, done: bool) -> None:
    """All is as it should be, at once or when the nodes have agreed."""
    end = time.monotonic() + kind.settles_s
    while True:
        try:
            return kind.sound(cluster, vmid, done)
        except AssertionError:
            if time.monotonic() > end:
                raise


def begin_and_kill(cluster: Cluster, kind: Kind, vmid: int, delay_s: float) -> Ended:
    if kind.daemon == kind.node:
        return ask(cluster, kind, vmid, delay_s, kill=True)
    killing_s = "systemctl kill -s KILL --kill-whom=main pvedaemon"
    script = f"systemctl reset-failed pvedaemon; sleep {delay_s}; {killing_s}"
    with cluster.following(kind.daemon, "sh", "-c", script) as killing:
        ended = ask(cluster, kind, vmid, 0, kill=False)
        assert killing.end() == 0
    return ended


def check_marked(cluster: Cluster, kind: Kind, ended: Ended) -> None:
    """One end in the log, the same in the lists of the node and of the cluster."""
    ends = [line for line in ended.log if line.startswith("TASK ")]
    assert len(ends) == 1 and ends[0] == ended.log[-1], ended
    if kind.daemon == kind.node:
        assert ended.status in (INTERRUPTED, "OK"), ended
    for path, asked in ((f"/nodes/{kind.node}/tasks", kind.node), ("/cluster/tasks", kind.node)):
        rows = cluster.get(asked, path)
        assert isinstance(rows, list)
        assert [row["status"] for row in rows if row["upid"] == ended.upid] == [ended.status], path
