"""A real Corosync cluster on this machine, without systemd and without changing anything else.

Each node is a corosync process with a network namespace of its own (Corosync's sockets are abstract, so they
belong to it) and a mount namespace with its own /etc/corosync, /var/lib/corosync, /var/log and /run. The
nodes hang on one bridge, in a namespace of its own. /dev/shm is shared: libqb's names carry process ids.
So a client may live in the test's own process: it only has to be opened inside the node's network namespace.

    with corosync_ring(3) as ring:
        with ring.inside(1):
            cpg = Cpg(...)

Needs root; ``unavailable()`` says in a sentence what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvorum.corosync import Cfg, Cmap, CorosyncError, Quorum

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = itertools.count(1)
_INIT = """
set -e
mount --make-rprivate /
mount --bind "$1/etc" /etc/corosync
mount --bind "$1/lib" /var/lib/corosync
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs /run
exec "$(command -v corosync)" -f
"""


def unavailable() -> str:
    """Say why a ring can't be made here, as a sentence; empty when it can."""
    if os.geteuid() != 0:
        return "a corosync ring needs root (network and mount namespaces)"
    for program in ("corosync", "ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"a corosync ring needs the program {program}"
    return ""


def _run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class RingNode:
    """One node: its number (also its nodeid), address, namespace and process."""

    number: int
    netns: str
    address: str
    directory: Path
    votes: int = 1
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Ring:
    """Several corosync processes in one cluster; nodes are known by their number, from 1."""

    nodes: dict[int, RingNode]
    bridge_netns: str
    directory: Path
    token_ms: int = 1000
    config_version: int = 1
    two_node: bool = False
    pids: list[int] = field(default_factory=list)

    @contextlib.contextmanager
    def inside(self, number: int) -> Iterator[None]:
        """Let this thread open handles on a node's corosync; what is opened stays with that node."""
        with Path("/proc/thread-self/ns/net").open() as home:
            with Path(f"/run/netns/{self.nodes[number].netns}").open() as there:
                _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def argv(self, number: int, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in a node's namespaces (its corosync must run)."""
        process = self.nodes[number].process
        assert process is not None
        return ["nsenter", f"--target={process.pid}", "--net", "--mount", "--", *argv]

    def run(self, number: int, *argv: str) -> str:
        """Run a command on a node and return what it prints; raises ``RuntimeError`` when it fails."""
        return _run(*self.argv(number, argv))

    def config(self) -> str:
        """corosync.conf as it stands now."""
        nodes = "".join(
            f"  node {{\n    name: {n.name}\n    nodeid: {n.number}\n    quorum_votes: {n.votes}\n"
            f"    ring0_addr: {n.address}\n  }}\n"
            for n in self.nodes.values()
        )
        two_node = "  two_node: 1\n" if self.two_node else ""
        return (
            "totem {\n  version: 2\n  cluster_name: kvtest\n  transport: knet\n  secauth: on\n"
            f"  config_version: {self.config_version}\n  token: {self.token_ms}\n  token_coefficient: 125\n"
            "  seqno_unchanged_const: 1\n"
            "  interface {\n    linknumber: 0\n  }\n}\n"
            f"nodelist {{\n{nodes}}}\n"
            f"quorum {{\n  provider: corosync_votequorum\n{two_node}}}\n"
            "logging {\n  to_syslog: no\n  to_stderr: yes\n}\n"
        )

    def write_config(self) -> None:
        """Put ``config()`` on every node; a running corosync reads it at the next reload."""
        for node in self.nodes.values():
            (node.directory / "etc" / "corosync.conf").write_text(self.config())

    def start(self, number: int) -> None:
        """Start a node's corosync; returns at once."""
        node = self.nodes[number]
        assert not node.running
        with (node.directory / "output").open("ab") as output:
            node.process = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    node.netns,
                    "unshare",
                    "--mount",
                    "sh",
                    "-c",
                    _INIT,
                    "sh",
                    node.directory,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pids.append(node.process.pid)

    def kill(self, number: int) -> None:
        """End a node's corosync at once, as a power cut would."""
        self._end(number, signal.SIGKILL)

    def stop(self, number: int) -> None:
        """End a node's corosync in order."""
        self._end(number, signal.SIGTERM)

    def freeze(self, number: int) -> None:
        """Stop a node's corosync in its tracks; ``thaw`` lets it go on."""
        self._signal(number, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen corosync go on."""
        self._signal(number, signal.SIGCONT)

    def cut(self, number: int) -> None:
        """Take a node's network away: it runs on alone."""
        _run("ip", "-n", self.bridge_netns, "link", "set", f"p{number}", "down")

    def heal(self, number: int) -> None:
        """Give a node its network back."""
        _run("ip", "-n", self.bridge_netns, "link", "set", f"p{number}", "up")

    def output(self, number: int) -> str:
        """What a node's corosync has printed so far."""
        return (self.nodes[number].directory / "output").read_text(errors="replace")

    def wait_members(self, number: int, members: Sequence[int], *, timeout: float = 60.0) -> None:
        """Wait until a node sees exactly these members; raises ``TimeoutError`` with its output."""
        until = time.monotonic() + timeout
        seen: list[tuple[int, ...]] = []
        while time.monotonic() < until:
            try:
                with self.inside(number):
                    quorum = Quorum(quorum_change=lambda _q, _ring, nodes: seen.append(nodes))
            except CorosyncError:
                if not self.nodes[number].running:
                    raise RuntimeError(f"corosync on node {number} ended:\n{self.output(number)}") from None
                time.sleep(0.05)  # corosync gives no event for its first connection
                continue
            with quorum, contextlib.suppress(CorosyncError):
                quorum.track()
                while not (seen and sorted(seen[-1]) == sorted(members)) and time.monotonic() < until:
                    select.select([quorum.fileno], [], [], max(0.0, until - time.monotonic()))
                    quorum.dispatch()
            if seen and sorted(seen[-1]) == sorted(members):
                return
        raise TimeoutError(f"node {number} saw {seen[-1:]}, not {list(members)}:\n{self.output(number)}")

    def set_token(self, token_ms: int, *, timeout: float = 10.0) -> None:
        """Give the running ring another token timeout; returns when it is in force on every node.

        A ring started with a long one takes long to form: all its other times derive from it.
        Raises ``TimeoutError`` with the node that kept its own.
        """
        key = "runtime.config.totem.token"
        self.token_ms = token_ms
        self.config_version += 1
        self.write_config()
        with contextlib.ExitStack() as stack:
            watched: list[Cmap] = []
            for number in self.nodes:
                with self.inside(number):
                    watched.append(stack.enter_context(Cmap()))
                watched[-1].track(key, lambda *_: None)
            with self.inside(1):
                stack.enter_context(Cfg()).reload()
            until = time.monotonic() + timeout
            for number, cmap in zip(self.nodes, watched, strict=True):
                while int(cmap.get(key)) < token_ms:
                    if not select.select([cmap.fileno], [], [], max(0.0, until - time.monotonic()))[0]:
                        raise TimeoutError(f"node {number} kept a token of {cmap.get(key)} ms")
                    cmap.dispatch()

    def close(self) -> None:
        """End everything and leave nothing behind."""
        for number, node in self.nodes.items():
            if node.running:
                self._end(number, signal.SIGKILL)
        for node in self.nodes.values():
            _run("ip", "netns", "del", node.netns, check=False)
        _run("ip", "netns", "del", self.bridge_netns, check=False)
        for pid in self.pids:
            for left in Path("/dev/shm").glob(f"qb*-{pid}-*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: int, number_of_signal: int) -> None:
        process = self.nodes[number].process
        assert process is not None
        process.send_signal(number_of_signal)

    def _end(self, number: int, number_of_signal: int) -> None:
        process = self.nodes[number].process
        assert process is not None
        process.send_signal(number_of_signal)
        process.wait(timeout=20)


@contextlib.contextmanager
def corosync_ring(count: int = 3, *, start: bool = True, two_node: bool = False) -> Iterator[Ring]:
    """A running cluster of ``count`` nodes, all of them members; torn down at the end.

    ``start=False`` leaves the starting to the test.
    """
    mark = f"kvcoro{os.getpid()}-{next(_NUMBERS)}"
    directory = Path(tempfile.mkdtemp(prefix="kvcoro-"))
    nodes = {
        number: RingNode(number, f"{mark}-{number}", f"10.77.0.{number}", directory / f"n{number}")
        for number in range(1, count + 1)
    }
    ring = Ring(nodes, f"{mark}-br", directory, two_node=two_node)
    try:
        _wire(ring)
        key = secrets.token_bytes(256)
        for node in nodes.values():
            for part in ("etc", "lib", "log"):
                (node.directory / part).mkdir(parents=True)
            (node.directory / "etc" / "authkey").write_bytes(key)
        ring.write_config()
        if start:
            for number in nodes:
                ring.start(number)
            for number in nodes:
                ring.wait_members(number, list(nodes))
        yield ring
    finally:
        ring.close()


def _wire(ring: Ring) -> None:
    bridge = ring.bridge_netns
    _run("ip", "netns", "add", bridge)
    _run("ip", "-n", bridge, "link", "add", "br0", "type", "bridge")
    _run("ip", "-n", bridge, "link", "set", "br0", "up")
    for node in ring.nodes.values():
        port = f"p{node.number}"
        _run("ip", "netns", "add", node.netns)
        peer = ["peer", "name", "eth0", "netns", node.netns]
        _run("ip", "-n", bridge, "link", "add", port, "type", "veth", *peer)
        _run("ip", "-n", bridge, "link", "set", port, "master", "br0", "up")
        _run("ip", "-n", node.netns, "addr", "add", f"{node.address}/24", "dev", "eth0")
        _run("ip", "-n", node.netns, "link", "set", "eth0", "up")
        _run("ip", "-n", node.netns, "link", "set", "lo", "up")


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    with corosync_ring(int(sys.argv[1]) if len(sys.argv) > 1 else 3) as shown:
        print({n.number: n.netns for n in shown.nodes.values()}, "up; enter ends it")
        input()
