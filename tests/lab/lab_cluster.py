"""What the lab's tests share: a cluster of three nodes as a test sees it, and the words to talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kvorum.lab import Lab, LabError
from kvorum.lab.commands import cached_roots, find_deb
from kvorum.lab.plan import Plan

NODES = ("n1", "n2", "n3")
SHARED = "shared"
"""The storage that all nodes see."""
FINGERPRINT = re.compile(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")

# The membership changes at another place than where we wait, and the file has no event for us.
_SETTLED = """
import json, socket, sys, time
wanted, quorate, end = sys.argv[1].split(","), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
shown = None
while time.monotonic() < end:
    try:
        shown = json.load(open("/etc/pve/.members"))
        online = sorted(name for name, node in shown["nodelist"].items() if node["online"])
        if shown["cluster"]["quorate"] == quorate and (not quorate or online == wanted):
            if len(sys.argv) > 4:
                for family, address in ((socket.AF_UNIX, sys.argv[4]), (socket.AF_INET, ("127.0.0.1", 8006))):
                    with socket.socket(family) as daemon:
                        daemon.connect(address)
            sys.exit(0)
    except (OSError, ValueError, KeyError) as error:
        shown = error
    time.sleep(0.05)
sys.exit(f"the membership is {shown}")
"""
_DAEMON = "/run/kvorum/pvedaemon.sock"


@dataclass
class Cluster:
    """Three real nodes in one cluster, and what a test does with them."""

    lab: Lab

    # commands

    def run(
        self, node: str, *argv: str, input: str | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        return self.lab.exec(node, list(argv), input=input, timeout_s=timeout_s)

    def say(self, node: str, *argv: str, input: str | None = None, timeout_s: float = 120.0) -> str:
        """Run a command that must do; what it prints."""
        return self.lab.exec(node, list(argv), input=input, timeout_s=timeout_s, check=True).stdout

    def fails(self, node: str, *argv: str, timeout_s: float = 120.0) -> str:
        """Run a command that must not do; all its words."""
        done = self.run(node, *argv, timeout_s=timeout_s)
        assert done.returncode != 0, done
        return done.stdout + done.stderr

    def get(self, node: str, path: str) -> object:
        """Ask a node's API."""
        return json.loads(self.say(node, "pvesh", "get", path, "--output-format", "json"))

    def until(self, node: str, script: str, timeout_s: float = 30.0) -> None:
        """Wait until a shell condition holds in a node; it is looked at 20 times a second."""
        looped = f"until {script}; do sleep 0.05; done"
        done = self.run(node, "timeout", str(timeout_s), "sh", "-c", looped, timeout_s=timeout_s + 10)
        assert done.returncode == 0, f"{node}: '{script}' did not come within {timeout_s:g} s: {done}"

    # the cluster

    def settled(self, nodes: Iterable[str] = NODES, timeout_s: float = 60.0) -> None:
        """Wait until these nodes are one quorate membership and their daemons answer."""
        names = sorted(nodes)
        argv = ["python3", "-c", _SETTLED, ",".join(names), "1", str(timeout_s), _DAEMON]
        with ThreadPoolExecutor(len(names)) as pool:
            for name, done in zip(
                names,
                pool.map(lambda node: self.run(node, *argv, timeout_s=timeout_s + 20), names),
                strict=True,
            ):
                assert done.returncode == 0, f"{name}: {done.stderr}"

    def without_quorum(self, node: str, timeout_s: float = 60.0) -> None:
        """Wait until a node knows that it has no quorum."""
        argv = ["python3", "-c", _SETTLED, node, "0", str(timeout_s)]
        done = self.run(node, *argv, timeout_s=timeout_s + 20)
        assert done.returncode == 0, f"{node}: {done.stderr}"

    # guests

    def create(self, node: str, vmid: int, *settings: str) -> None:
        """A small guest with what is given beside."""
        memory = () if "--memory" in settings else ("--memory", "64")
        self.say(node, "qm", "create", str(vmid), *memory, "--vga", "none", *settings)

    def status(self, node: str, vmid: int) -> str:
        """``qm status``'s word."""
        return self.say(node, "qm", "status", str(vmid)).strip().removeprefix("status: ")

    def pid(self, node: str, vmid: int) -> int:
        """The guest's process, as the node numbers it."""
        return int(self.say(node, "cat", f"/run/qemu-server/{vmid}.pid"))

    def lives(self, node: str, pid: int) -> bool:
        """Whether a process is there (and no corpse)."""
        done = self.run(node, "grep", "-q", "^State:.[^ZX]", f"/proc/{pid}/status")
        return done.returncode == 0

    def owner(self, vmid: int) -> list[str]:
        """The nodes whose folder has the guest's configuration; there must be one at most."""
        shown = self.run("n1", "sh", "-c", f"ls -d /etc/pve/nodes/*/qemu-server/{vmid}.conf")
        return [path.split("/")[4] for path in shown.stdout.split()]

    def traces(self, node: str, vmid: int) -> list[str]:
        """What of a guest is at a node: processes, runtime files, taps, disks, scope. Empty: nothing."""
        script = (
            f"pgrep -a -f 'vm-{vmid}-disk|^qemu.*{vmid}' | grep -v pgrep | cut -c1-80; "
            f"ls -d /run/qemu-server/{vmid}.* /run/qemu-server/*{vmid}*/ /var/lib/kvorum/incoming/{vmid}.* "
            f"/var/lib/vz/images/{vmid} /sys/class/net/tap{vmid}i* 2>/dev/null; "
            f"systemctl --quiet is-active {vmid}.scope && echo {vmid}.scope; true"
        )
        lines = self.say(node, "bash", "-c", script).split("\n")
        return sorted({line for line in lines if line and not line.endswith(f"{vmid}.log")})

    def remove(self, vmid: int) -> None:
        """Take a guest away, whatever state a test left it in."""
        for node in self.owner(vmid):
            for verb in ("stop", "destroy"):
                self.run(node, "qm", verb, str(vmid), "--skiplock", "1")
        assert self.owner(vmid) == []

    def package(self, node: str) -> str:
        """The path in a node of the very package it has."""
        deb = find_deb(os.environ.get("KVORUM_LAB_DEB", "auto"))
        assert deb is not None
        shutil.copyfile(deb, self.lab.places.shared / deb.name)
        return f"/mnt/shared/{deb.name}"

    @contextlib.contextmanager
    def following(self, node: str, *argv: str) -> Iterator[Following]:
        """Start a command and follow what it says."""
        process = self.lab.popen(
            node, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            yield Following(process)
        finally:
            process.terminate()
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()


@dataclass
class Following:
    """A command under way; the test's own deadline ends what hangs."""

    process: subprocess.Popen[bytes]
    text: str = ""

    def until(self, word: str) -> None:
        """Read until a line has this word; fails when the command ends before."""
        for line in self._lines():
            if word in line:
                return
        raise AssertionError(f"'{word}' was not said:\n{self.text}")

    def end(self) -> int:
        """Read to the end; the exit status."""
        for _ in self._lines():
            pass
        return self.process.wait(30)

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode(errors="replace")
            self.text += line
            yield line


def roots_of(plan: Plan) -> dict[str, Path]:
    """The root file systems for a lab of the tests: what KVORUM_LAB_ROOT names, else the cached ones."""
    if given := os.environ.get("KVORUM_LAB_ROOT"):
        return {"node": Path(given), "plain": Path(given)}
    return cached_roots(plan, find_deb(os.environ.get("KVORUM_LAB_DEB", "auto")))


def address(lab: Lab, node: str, network: int) -> str:
    """A node's address, by the lab's own plan."""
    return f"198.18.1{network}.{node.removeprefix('n')}"


def form(lab: Lab) -> Cluster:
    """Make three nodes one cluster by the how-to's commands: create, then join by the fingerprint shown.

    Then their pages show the cluster's certificates, as an admin decides it.
    """
    cluster = Cluster(lab)
    cluster.say("n1", "pvecm", "create", "walk", *_links(lab, "n1"))
    for node in NODES[1:]:
        join(cluster, node, address(lab, "n1", 0))
    options = ("--path", "/mnt/shared", "--shared", "1", "--content", "images")
    cluster.say("n1", "pvesm", "add", "dir", SHARED, *options)
    cluster.settled()
    for node in NODES[1:]:
        cluster.say("n1", "pvecm", "takecert", node)
    return cluster


def join(cluster: Cluster, node: str, peer: str) -> None:
    """Take a node into the cluster of ``peer``, by the fingerprint that its first try shows."""
    lab = cluster.lab
    secret, links = f"{lab.password}\n", _links(lab, node)
    asked = cluster.run(node, "pvecm", "add", peer, *links, input=secret)
    shown = FINGERPRINT.search(asked.stdout + asked.stderr)
    if asked.returncode == 0 or shown is None:
        raise LabError(f"'{node}' was to show the fingerprint and ask: {asked}")
    joined = cluster.say(node, "pvecm", "add", peer, "--fingerprint", shown[0], *links, input=secret)
    assert f"successfully added node '{node}' to cluster." in joined


def _links(lab: Lab, node: str) -> list[str]:
    return [word for n in (0, 1) for word in (f"--link{n}", address(lab, node, n))]


Maker = Callable[..., int]
"""``guest(node, *settings)`` creates a guest and returns its id; it is removed after the test."""
