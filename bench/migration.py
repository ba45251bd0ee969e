"""Our live migration against the same one by a bare QMP script: ``python bench/migration.py [ROUNDS]``.

Both move the test guest back and forth between the same two nodes, with its disk on the directory that both
see and the same devices, in turns, in the same run; the bare one has no cluster to tell. Both go under TLS in
one round (``secure``, what users get) and without in the next (``insecure``).

The standstill is the same thing for both: from QEMU's STOP event at the source to its RESUME event at the
target, read from a QMP socket of its own. ``qemu_downtime_ms`` is what QEMU itself reports, for the bare one.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from figures import median, ratio, show

from kvorum.lab import Lab, plan
from kvorum.lab.demo import SHARED_MOUNT, Demonstration, Stage
from kvorum.lab.image import build

SCRIPT = Path(__file__).with_name("bare_qmp.py")
EVENTS = Path(__file__).with_name("events.py")
IMAGE = "kvorum-bench.qcow2"
KEYS = "kvorum-bench-keys"
PORT = 60999
ROUNDS = 4


class Figures:
    """Named series of milliseconds."""

    def __init__(self) -> None:
        self._series: dict[str, list[float]] = {}

    def add(self, name: str, value_ms: float) -> None:
        """Note one value."""
        self._series.setdefault(name, []).append(value_ms)

    def medians(self) -> dict[str, float]:
        """The median of each series."""
        return {name: median(values) for name, values in self._series.items()}


class Standstill:
    """How long the guest stood still at each move, by QEMU's own events at both nodes."""

    def __init__(self, stage: Stage, sockets: dict[str, str]) -> None:
        self._readers = [
            stage.lab.popen(
                node,
                ["python3", "-u", f"{SHARED_MOUNT}/{EVENTS.name}", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            for node, path in sockets.items()
        ]
        self._told: list[tuple[float, str]] = []
        self._resumed = threading.Event()

    def __enter__(self) -> Standstill:
        for reader in self._readers:
            threading.Thread(target=self._read, args=(reader,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.kill()
            reader.wait()

    def _read(self, reader: subprocess.Popen[bytes]) -> None:
        assert reader.stdout is not None
        for line in reader.stdout:
            told = json.loads(line)
            self._told.append((told["at"], told["event"]))
            if told["event"] == "RESUME":
                self._resumed.set()

    def begin(self) -> None:
        """Forget what was before a move."""
        self._told.clear()
        self._resumed.clear()

    def end_ms(self) -> float:
        """From the first STOP to the RESUME that followed it; waits for the latter."""
        if not self._resumed.wait(10):
            sys.exit("the guest did not resume within 10 s of its move")
        stop = min(at for at, event in self._told if event == "STOP")
        return (min(at for at, event in self._told if event == "RESUME" and at > stop) - stop) * 1000


class Bare:
    """The test guest under QEMU alone, at one of two nodes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        shutil.copyfile(build(), stage.lab.places.shared / IMAGE)
        for script in (SCRIPT, EVENTS):
            shutil.copyfile(script, stage.lab.places.shared / script.name)
        keys = stage.lab.places.shared / KEYS
        keys.mkdir(exist_ok=True)
        (keys / "keys.psk").write_text(f"qemu:{secrets.token_hex(32)}\n")

    def launch(self, node: str, *more: str) -> None:
        """Start QEMU in a node; it goes into the background when its sockets are open."""
        drive = f"file={SHARED_MOUNT}/{IMAGE},format=qcow2,if=virtio,cache=none,aio=native"
        self._stage.run(
            node, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "256", "-nodefaults",
            "-display", "none", "-daemonize", "-drive", drive,
            "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:6b:fe:01",
            "-device", "VGA", "-device", "piix3-usb-uhci", "-device", "usb-tablet",
            "-device", "virtio-balloon-pci", "-device", "virtio-serial-pci",
            "-qmp", f"unix:{self.socket(node)},server=on,wait=off",
            "-qmp", f"unix:{self.socket(node)}.mon,server=on,wait=off", *more,
        )  # fmt: skip

    def migrate(self, source: str, target: str, *, tls: bool) -> dict[str, float]:
        """Move it; milliseconds from the command to its end (the target's QEMU is started first), and
        QEMU's own total time and downtime."""
        began = time.monotonic()
        keys = f"{SHARED_MOUNT}/{KEYS}"
        secured = ["-object", f"tls-creds-psk,id=in,endpoint=server,dir={keys}",
                   "-global", "migration.tls-creds=in"] if tls else []  # fmt: skip
        self.launch(target, *secured, "-incoming", f"tcp:0.0.0.0:{PORT}")
        number = int(target.lstrip("n"))
        uri = f"tcp:{plan.address(plan.LINKS[0], number)}:{PORT}"
        words = [uri, keys] if tls else [uri]
        told: dict[str, float] = json.loads(self._qmp(source, "migrate", *words))
        wall_ms = (time.monotonic() - began) * 1000
        self._qmp(source, "quit")
        return {"total_ms": wall_ms, "qemu_downtime_ms": told["downtime_ms"]}

    def quit(self, node: str) -> None:
        """End QEMU and take the files away."""
        self._qmp(node, "quit")
        shutil.rmtree(self._stage.lab.places.shared / KEYS, ignore_errors=True)
        for name in (IMAGE, SCRIPT.name, EVENTS.name):
            (self._stage.lab.places.shared / name).unlink(missing_ok=True)

    def _qmp(self, node: str, *words: str) -> str:
        return self._stage.run(node, "python3", f"{SHARED_MOUNT}/{SCRIPT.name}", self.socket(node), *words)

    @staticmethod
    def socket(node: str) -> str:
        return f"/run/kvorum-bench-{node}.qmp"


def main(rounds: str = str(ROUNDS)) -> None:
    """Move both guests back and forth ``rounds`` times and print the medians."""
    stage = Stage(Lab())
    stage.form_cluster()
    stage.offer_storage()
    stage.open_network()
    here, there = stage.nodes[:2]
    measured = {kind: {"ours": Figures(), "baseline": Figures()} for kind in ("secure", "insecure")}
    with ExitStack() as stack:
        guest = Demonstration.create(stage)
        place = {"ours": here, "bare": here}
        stack.callback(lambda: guest.remove(place["ours"]))
        baseline = Bare(stage)
        baseline.launch(here)
        stack.callback(lambda: baseline.quit(place["bare"]))
        watches = stack.enter_context(guest.watched())
        guest.start(watches)
        pair = (here, there)
        of_bare = stack.enter_context(
            Standstill(stage, {node: f"{baseline.socket(node)}.mon" for node in pair})
        )
        of_ours = stack.enter_context(Standstill(stage, dict.fromkeys(pair, guest.monitor)))
        for kind in (*measured,) * int(rounds):
            for source, target in ((here, there), (there, here)):
                bare, ours = measured[kind]["baseline"], measured[kind]["ours"]
                of_bare.begin()
                for name, value in baseline.migrate(source, target, tls=kind == "secure").items():
                    bare.add(name, value)
                bare.add("standstill_ms", of_bare.end_ms())
                place["bare"] = target
                of_ours.begin()
                leg = guest.migrate(source, target, watches, "--migration_type", kind)
                if leg.error:
                    sys.exit(f"our migration from {source} to {target} failed: {leg.error}")
                place["ours"] = target
                ours.add("total_ms", leg.duration_s * 1000)
                ours.add("standstill_ms", of_ours.end_ms())
                ours.add("longest_echo_gap_ms", leg.longest_gap_ms)
    shown = {}
    for kind, sides in measured.items():
        ours, bare = sides["ours"].medians(), sides["baseline"].medians()
        more = {name: ratio(ours[name], bare[name]) for name in bare if name in ours}
        shown[kind] = {"ours": ours, "baseline": bare, "ratio": more}
    show("migration", unit="ms", rounds=int(rounds) * 2, **shown)


if __name__ == "__main__":
    main(*sys.argv[1:])
