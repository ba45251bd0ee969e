"""The fault walk's writers, held from outside of the machines, and the look at what the nodes hold."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from lab_cluster import NODES, Cluster
from store_judge import Held

from kvorum.core.errors import KvorumError

OURS = "/usr/lib/kvorum/bin/python"
PLACES = (("w1", "n1", "fuse"), ("w2", "n2", "socket"), ("w3", "n3", "fuse"), ("w4", "n1", "socket"))
"""Name, node and way of each writer."""
SOURCE = Path(__file__).with_name("store_writer.py").read_text()
_END_S = 60.0

_LOOK = """
import hashlib, json, os, sqlite3, sys
shown, texts = {}, {}
for folder, _, names in os.walk("/etc/pve/chaos"):
    for name in names:
        path = os.path.join(folder, name)
        data = open(path, "rb").read()
        path = path.removeprefix("/etc/pve/")
        shown[path] = hashlib.sha256(data).hexdigest()
        if not path.startswith("chaos/own/"):
            texts[path] = data.decode()
database = sqlite3.connect("file:/var/lib/pve-cluster/config.db?mode=ro", uri=True)
rows = database.execute("SELECT path, data, version FROM file")
stored = {path: (hashlib.sha256(data).hexdigest(), version) for path, data, version in rows}
json.dump({"shown": shown, "stored": stored, "texts": texts}, sys.stdout)
"""

_WRITABLE = """
import asyncio, sys
from pathlib import Path
from kvorum.core.errors import KvorumError
from kvorum.store import StoreClient
async def write():
    async with StoreClient(Path("/run/kvorum/store.sock")) as store, asyncio.timeout(float(sys.argv[2])):
        while True:
            async for now in store.watch_membership():
                if now.quorate and all(member.online for member in now.members):
                    break
            try:
                return await store.write("chaos/writable-" + sys.argv[1], sys.argv[1])
            except KvorumError as error:
                print(error, file=sys.stderr)
asyncio.run(write())
"""


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    thread: threading.Thread
    errors: Path


class Writers:
    """Four real processes in the nodes. What they report arrives here, so that no cut takes it away."""

    def __init__(self, cluster: Cluster, seed: int, log: Path) -> None:
        self._lab = cluster.lab
        self._seed = seed
        self._log = log
        self._lives = itertools.count(1)
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self.lines: list[str] = []
        self.died: list[str] = []
        """A sentence for each writer that ended without being asked or cut."""

    def start(self, node: str) -> None:
        """Start the writers of a node that do not run."""
        for name, place, way in PLACES:
            if place == node:
                self._end(name, cut=True)
                life = f"{name}-{next(self._lives)}"
                argv = [OURS, "-c", SOURCE, life, way, f"{self._seed}-{life}"]
                errors = self._log.parent / f"{life}.errors"
                with errors.open("wb") as file:
                    process = self._lab.popen(
                        node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file
                    )
                thread = threading.Thread(target=self._follow, args=(process,))
                thread.start()
                self._running[name] = _Running(process, thread, errors)

    def end(self) -> None:
        """Let each finish what it is doing, and hear it."""
        for _, node, _ in PLACES:
            assert self._lab.states()[node] == "running", node
        for name in list(self._running):
            self._end(name, cut=False)

    def kill(self) -> None:
        """End them whatever they do."""
        for one in self._running.values():
            one.process.kill()
        for name in list(self._running):
            self._end(name, cut=True)

    def _end(self, name: str, *, cut: bool) -> None:
        one = self._running.pop(name, None)
        if one is None:
            return
        process = one.process
        assert process.stdin is not None and process.stdout is not None
        early = process.poll() is not None
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_S)
            self.died.append(f"{name} did not end within {_END_S:g} s of being asked")
        one.thread.join(_END_S)
        process.stdout.close()
        if not cut and (early or process.returncode):
            said = one.errors.read_text(errors="replace")[-2000:]
            self.died.append(f"{name} ended by itself with {process.returncode}: {said}")

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self._log.open("a") as log:
            for raw in process.stdout:
                line = raw.decode()
                if not line.endswith("\n"):
                    break  # cut off in the middle: only of a line that was longer than a pipe's atomic write
                with self._lock:
                    self.lines.append(line)
                log.write(line)


def writable(cluster: Cluster, timeout_s: float) -> list[str]:
    """Wait until every node's store takes a write with all nodes there; a sentence for each that does not."""
    findings = []
    for node in NODES:
        argv = [OURS, "-c", _WRITABLE, node, str(timeout_s)]
        try:
            cluster.say(node, *argv, timeout_s=timeout_s + 60)
        except KvorumError as error:
            findings.append(f"{node} is not writable after everything was healed: {error}")
    return findings


def look(cluster: Cluster, node: str) -> Held:
    """What a node holds."""
    told = json.loads(cluster.say(node, OURS, "-c", _LOOK))
    stored = {path: (sha, version) for path, (sha, version) in told["stored"].items()}
    return Held(told["shown"], stored, told["texts"])
