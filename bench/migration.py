"""Our live migration against the same one by a bare QMP script: ``python bench/migration.py [ROUNDS]``.

Both move the test guest back and forth between the same two nodes, with its disk on the directory that both
see, in turns, in the same run. The bare one has neither TLS nor a cluster to tell.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from figures import median, ratio, show

from kvorum.lab import Lab, plan
from kvorum.lab.demo import SHARED_MOUNT, Demonstration, Stage
from kvorum.lab.image import build

SCRIPT = Path(__file__).with_name("bare_qmp.py")
IMAGE = "kvorum-bench.qcow2"
PORT = 60999
ROUNDS = 4


class Bare:
    """The test guest under QEMU alone, at one of two nodes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        shutil.copyfile(build(), stage.lab.places.shared / IMAGE)
        shutil.copyfile(SCRIPT, stage.lab.places.shared / SCRIPT.name)

    def launch(self, node: str, *more: str) -> None:
        """Start QEMU in a node; it goes into the background when its sockets are open."""
        drive = f"file={SHARED_MOUNT}/{IMAGE},format=qcow2,if=virtio"
        self._stage.run(
            node, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "256", "-nodefaults",
            "-display", "none", "-daemonize", "-drive", drive,
            "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:6b:fe:01",
            "-qmp", f"unix:{self._socket(node)},server=on,wait=off", *more,
        )  # fmt: skip

    def migrate(self, source: str, target: str) -> dict[str, float]:
        """Move it; milliseconds from the command to its end (the target's QEMU is started first), and
        QEMU's own total time and downtime."""
        began = time.monotonic()
        self.launch(target, "-incoming", f"tcp:0.0.0.0:{PORT}")
        number = int(target.lstrip("n"))
        uri = f"tcp:{plan.address(plan.LINKS[0], number)}:{PORT}"
        told: dict[str, float] = json.loads(self._qmp(source, "migrate", uri))
        wall_ms = (time.monotonic() - began) * 1000
        self._qmp(source, "quit")
        return {"total_ms": wall_ms, "qemu_total_ms": told["total_ms"], "downtime_ms": told["downtime_ms"]}

    def quit(self, node: str) -> None:
        """End QEMU and take the files away."""
        self._qmp(node, "quit")
        for name in (IMAGE, SCRIPT.name):
            (self._stage.lab.places.shared / name).unlink(missing_ok=True)

    def _qmp(self, node: str, *words: str) -> str:
        return self._stage.run(node, "python3", f"{SHARED_MOUNT}/{SCRIPT.name}", self._socket(node), *words)

    @staticmethod
    def _socket(node: str) -> str:
        return f"/run/kvorum-bench-{node}.qmp"


def main(rounds: str = str(ROUNDS)) -> None:
    """Move both guests back and forth ``rounds`` times and print the medians."""
    stage = Stage(Lab())
    stage.form_cluster()
    stage.offer_storage()
    stage.open_network()
    here, there = stage.nodes[:2]
    ours: dict[str, list[float]] = {"total_ms": [], "downtime_ms": [], "longest_gap_ms": []}
    bare: dict[str, list[float]] = {"total_ms": [], "qemu_total_ms": [], "downtime_ms": []}
    with ExitStack() as stack:
        guest = Demonstration.create(stage)
        place = {"ours": here, "bare": here}
        stack.callback(lambda: guest.remove(place["ours"]))
        baseline = Bare(stage)
        baseline.launch(here)
        stack.callback(lambda: baseline.quit(place["bare"]))
        watches = stack.enter_context(guest.watched())
        guest.start(watches)
        for _ in range(int(rounds)):
            for source, target in ((here, there), (there, here)):
                for name, value in baseline.migrate(source, target).items():
                    bare[name].append(value)
                place["bare"] = target
                leg = guest.migrate(source, target, watches)
                if leg.error:
                    sys.exit(f"our migration from {source} to {target} failed: {leg.error}")
                place["ours"] = target
                ours["total_ms"].append(leg.duration_s * 1000)
                ours["longest_gap_ms"].append(leg.longest_gap_ms)
                if leg.downtime_ms is not None:
                    ours["downtime_ms"].append(leg.downtime_ms)
    own = {name: median(values) for name, values in ours.items() if values}
    base = {name: median(values) for name, values in bare.items()}
    ratios = {name: ratio(own[name], base[name]) for name in base if name in own}
    show("migration", unit="ms", rounds=int(rounds) * 2, ours=own, baseline=base, ratio=ratios)


if __name__ == "__main__":
    main(*sys.argv[1:])
