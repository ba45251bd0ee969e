"""A corosync ring whose nodes have /etc/pve and follow its corosync.conf: votes without API and systemd."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corosync_ring import Ring, corosync_ring

FOLLOWER = Path(__file__).with_name("ring_follower.py")
EDIT = """
import re, sys
path, node, votes, grow = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
text = open(path).read()
text = re.sub(rf"(name: {node}\\n.*?quorum_votes: )\\d+", rf"\\g<1>{votes}", text, count=1, flags=re.S)
text = re.sub(r"(config_version: )(\\d+)", lambda m: m[1] + str(int(m[2]) + grow), text)
with open(path, "w") as file:
    file.write(text)
"""
"""An edit in place, as nano does it: PATH NODE VOTES GROWTH."""


@dataclass
class Followed:
    """The ring and the process of each node."""

    ring: Ring
    root: Path
    processes: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def node_root(self, number: int) -> Path:
        return self.root / f"n{number}"

    def conf(self, number: int) -> Path:
        """/etc/pve/corosync.conf, as it is called inside the node."""
        return self.node_root(number) / "pve" / "corosync.conf"

    def start(self, number: int) -> None:
        """Start the node's store and follower; its corosync must run."""
        root = self.node_root(number)
        root.mkdir(parents=True, exist_ok=True)
        if not (root / "corosync").exists():
            (root / "corosync").symlink_to(self.ring.nodes[number].directory / "etc")
        peers = [f"n{n}={self.node_root(n)}" for n in self.ring.nodes if n != number]
        argv = self.ring.argv(number, [sys.executable, str(FOLLOWER), f"n{number}", str(root), *peers])
        with (root / "errors").open("ab") as errors:
            self.processes[number] = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.says(number, "ready")

    def says(self, number: int, word: str, timeout_s: float = 30.0) -> str:
        """Wait until the node's process prints a line with this word."""
        output = self.processes[number].stdout
        assert output is not None
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            if select.select([output], [], [], left)[0]:
                line = output.readline()
                if word in line:
                    return line
                assert line, (self.node_root(number) / "errors").read_text()
        errors = (self.node_root(number) / "errors").read_text()
        raise AssertionError(f"n{number} did not say '{word}': {errors}")

    def edit(self, number: int, node: str, votes: int, grow: int = 1) -> subprocess.CompletedProcess[str]:
        """Edit /etc/pve/corosync.conf on a node."""
        argv = [sys.executable, "-c", EDIT, str(self.conf(number)), node, str(votes), str(grow)]
        return subprocess.run(
            self.ring.argv(number, argv), capture_output=True, text=True, timeout=60, check=False
        )

    def kill(self, number: int) -> None:
        """A power cut: corosync and the daemons at once."""
        self.ring.kill(number)
        self._end(number)

    def version(self, number: int) -> int:
        """What the node's corosync runs; 0 while it does not run."""
        from kvorum.cluster.following import running_version

        with self.ring.inside(number):
            return running_version() or 0

    def follows(self, numbers: Sequence[int], version: int, timeout_s: float = 20.0) -> None:
        """Wait until corosync on these nodes runs the version."""
        until = time.monotonic() + timeout_s
        while any(self.version(number) != version for number in numbers):
            assert time.monotonic() < until, {number: self.version(number) for number in numbers}
            time.sleep(0.01)  # corosync tells no change of its version

    def _end(self, number: int) -> None:
        process = self.processes.pop(number, None)
        if process is not None:
            process.kill()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()

    def close(self) -> None:
        for number in list(self.processes):
            self._end(number)


@contextlib.contextmanager
def followed_ring(root: Path, count: int) -> Iterator[Followed]:
    """A ring of ``count`` nodes with corosync.conf in its store; torn down at the end."""
    with corosync_ring(count) as ring:
        it = Followed(ring, root)
        try:
            for number in ring.nodes:
                it.start(number)
            _place(it)
            it.follows(list(ring.nodes), 1)
            yield it
        finally:
            it.close()


def _place(it: Followed) -> None:
    """The first corosync.conf, once the store may be written."""
    script = "until cat {0} > {1} 2>/dev/null; do sleep 0.05; done; until test -s {1}; do sleep 0.05; done"
    source = it.ring.nodes[1].directory / "etc" / "corosync.conf"
    argv = it.ring.argv(1, ["timeout", "30", "sh", "-c", script.format(source, it.conf(1))])
    subprocess.run(argv, check=True, timeout=40)
