"""A guest's start by us and by QEMU's bare command line, in turns. Runs inside a node, by its own python3.

python3 starts.py VMID ROUNDS     prints {"ours_running": […], "ours_command": […], "bare_running": […]}, ms

``running``: from the start of the command until QEMU says that the guest runs, asked over QMP; ``command``:
until ``qm start`` has ended. The bare command line is ``qm showcmd``'s, with sockets of QEMU's own and its
own NAT in place of the descriptors that our daemon hands over.
"""

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

BARE = "/run/kvorum-bench"
DEADLINE_S = 60


class Qmp:
    """One QMP connection, made as soon as there is a socket at ``path``."""

    def __init__(self, path: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(DEADLINE_S)
            try:
                self._socket.connect(path)
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)
        self._stream = self._socket.makefile("rw")
        self._stream.readline()
        self.run("qmp_capabilities")

    def run(self, command: str) -> dict:
        self._stream.write(json.dumps({"execute": command}) + "\n")
        self._stream.flush()
        while "return" not in (answer := json.loads(self._stream.readline())):
            if "error" in answer:
                sys.exit(answer["error"]["desc"])
        return answer["return"]

    def until_running(self) -> None:
        while not self.run("query-status")["running"]:
            time.sleep(0.001)


def bare(vmid: str) -> list[str]:
    """The bare command line."""
    line = subprocess.run(["qm", "showcmd", vmid], check=True, capture_output=True, text=True).stdout
    words = []
    for word in shlex.split(line):
        if match := re.match(r"socket,id=(\w+),fd=\d+(.*)", word):
            word = f"socket,id={match[1]},path={BARE}.{match[1]}{match[2]}"
        elif match := re.match(r"tap,id=(\w+),fd=\d+", word):
            word = f"user,id={match[1]}"
        words.append(word)
    return words


def start_bare(words: list[str]) -> float:
    """Seconds from QEMU's start to the guest's."""
    begun = time.monotonic()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        qmp = Qmp(f"{BARE}.qmp")
        qmp.run("cont")
        qmp.until_running()
        took = time.monotonic() - begun
        qmp.run("quit")
        process.wait(DEADLINE_S)
    for path in Path(BARE).parent.glob(Path(BARE).name + ".*"):
        path.unlink()
    return took


def start_ours(vmid: str) -> tuple[float, float]:
    """Seconds from the start of ``qm start`` to the guest's, and to the command's end."""
    running: list[float] = []

    def watch() -> None:
        Qmp(f"/run/qemu-server/{vmid}.mon").until_running()
        running.append(time.monotonic())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begun = time.monotonic()
    subprocess.run(["qm", "start", vmid], check=True, stdout=subprocess.DEVNULL)
    ended = time.monotonic()
    watcher.join(DEADLINE_S)
    subprocess.run(["qm", "stop", vmid], check=True, stdout=subprocess.DEVNULL)
    return running[0] - begun, ended - begun


def main(vmid: str, rounds: str) -> None:
    words = bare(vmid)
    told: dict[str, list[float]] = {"ours_running": [], "ours_command": [], "bare_running": []}
    for _ in range(int(rounds)):
        told["bare_running"].append(start_bare(words) * 1000)
        running, command = start_ours(vmid)
        told["ours_running"].append(running * 1000)
        told["ours_command"].append(command * 1000)
    print(json.dumps(told))


main(*sys.argv[1:])
