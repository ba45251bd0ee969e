"""``kvorum lab demo``: a guest moves round the running lab while it is watched, and nothing may be lost.

By public ways only: the commands in the nodes, and what anyone in the lab's network can see of the guest.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO

from kvorum.core.errors import KvorumError
from kvorum.lab import plan
from kvorum.lab.client import Lab, LabError
from kvorum.lab.demo_figures import Chunk, Leg, audit, counts, downtime_ms, longest_gap_s, round_trip
from kvorum.lab.demo_watch import EchoWatch, PageWatch, SerialWatch, in_order
from kvorum.lab.guest.ring import address_of
from kvorum.lab.image import ImageFailed, build

CLUSTER_NAME = "lab"
STORAGE = "shared"
SHARED_MOUNT = "/mnt/shared"
IMAGE_NAME = "kvorum-demo.qcow2"
COMMAND_TIMEOUT_S = 180.0
BOOT_TIMEOUT_S = 120.0
AROUND_S = 1.0
"""How long before and after a migration the guest is watched for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the demonstration found."""

    legs: tuple[Leg, ...]
    counted: int
    counts_lost: int
    counts_repeated: int
    echoes_sent: int
    echoes_back: int
    http_in_order: bool
    disks_in_order: bool

    @property
    def good(self) -> bool:
        """Every migration succeeded and nothing was lost."""
        return (
            bool(self.legs)
            and all(leg.good for leg in self.legs)
            and not self.counts_lost
            and not self.counts_repeated
            and self.http_in_order
            and self.disks_in_order
        )


class Stage:
    """A cluster in the lab, and the commands of its nodes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nodes = [
            name for name, state in lab.states().items() if state == "running" and not name.startswith("p")
        ]
        if len(self.nodes) < 2:
            raise LabError("the demo needs at least two running nodes: kvorum lab up --nodes 3")

    def run(self, node: str, *argv: str, input: str | None = None) -> str:
        """A command in a node; raises ``LabError`` with its words when it fails."""
        done = self.lab.exec(node, argv, timeout_s=COMMAND_TIMEOUT_S, check=True, input=input)
        return done.stdout

    def ask(self, node: str, path: str) -> object:
        """A GET of the API, by ``pvesh``."""
        answer: object = json.loads(self.run(node, "pvesh", "get", path, "--output-format", "json"))
        return answer

    def form_cluster(self) -> None:
        """Make the nodes one cluster if they are none yet, as the how-to does."""
        first, *others = self.nodes
        if not self._clustered(first):
            self.run(first, "pvecm", "create", CLUSTER_NAME, *self._links(first))
        for node in others:
            if self._clustered(node):
                continue
            told = self.ask(first, "/cluster/config/join")
            assert isinstance(told, dict)
            peer = next(n for n in told["nodelist"] if n["name"] == first)
            address = self._address(first, plan.LINKS[0])
            fingerprint = ("--fingerprint", str(peer["pve_fp"]))
            command = ("pvecm", "add", address, *fingerprint, *self._links(node))
            self.run(node, *command, input=self.lab.password + "\n")

    def _clustered(self, node: str) -> bool:
        rows = self.ask(node, "/cluster/status")
        return isinstance(rows, list) and any(row.get("type") == "cluster" for row in rows)

    def _address(self, node: str, network: int) -> str:
        return plan.address(network, int(re.sub(r"\D", "", node)))

    def _links(self, node: str) -> list[str]:
        return [word for link in plan.LINKS for word in (f"--link{link}", self._address(node, link))]

    def offer_storage(self) -> None:
        """Make /mnt/shared a storage of the cluster if it is none yet."""
        rows = self.ask(self.nodes[0], "/storage")
        if not (isinstance(rows, list) and any(row.get("storage") == STORAGE for row in rows)):
            options = ("--path", SHARED_MOUNT, "--shared", "1", "--content", "images")
            self.run(self.nodes[0], "pvesm", "add", "dir", STORAGE, *options)

    def open_network(self) -> None:
        """Let the lab's own network reach the guest's addresses, which lie in 198.19.0.0/16."""
        route = ["ip", "route", "replace", "198.19.0.0/16", "dev", f"sw{plan.GUEST_NETWORK}"]
        self.lab.exec("switch", route, check=True)


class Demonstration:
    """One guest, moved round the nodes of a stage."""

    def __init__(self, stage: Stage, vmid: int) -> None:
        self._stage = stage
        self._vmid = vmid
        self._mac = f"52:54:00:6b:{(vmid >> 8) % 250:02x}:{vmid % 250 + 1:02x}"
        self.address = address_of(self._mac)
        self.monitor = f"/run/qemu-server/{vmid}.mon"
        """The guest's second QMP socket, at whichever node it is."""

    @classmethod
    def create(cls, stage: Stage) -> Demonstration:
        """Make the guest on the first node, from the test image, its disk on the shared storage."""
        first = stage.nodes[0]
        vmid = int(str(stage.ask(first, "/cluster/nextid")))
        made = cls(stage, vmid)
        shutil.copyfile(build(), stage.lab.places.shared / IMAGE_NAME)
        settings = (
            "--name",
            "demo",
            "--memory",
            "256",
            "--cores",
            "1",
            "--serial0",
            "socket",
            "--agent",
            "1",
        )
        net = ("--net0", f"virtio={made._mac},bridge=vmbr0")
        stage.run(first, "qm", "create", str(vmid), *settings, *net)
        image = f"{SHARED_MOUNT}/{IMAGE_NAME}"
        target = ("--format", "qcow2", "--target-disk", "virtio0")
        stage.run(first, "qm", "disk", "import", str(vmid), image, STORAGE, *target)
        stage.run(first, "qm", "set", str(vmid), "--boot", "order=virtio0")
        return made

    @contextmanager
    def watched(self) -> Iterator[Watches]:
        """Watch the guest while the block runs."""
        lab, path = self._stage.lab, f"/run/qemu-server/{self._vmid}.serial0"
        with ExitStack() as stack:
            serial = {node: SerialWatch(lab, node, path) for node in self._stage.nodes}
            watches = Watches(serial, EchoWatch(lab, self.address), PageWatch(lab, self.address))
            for watch in (*serial.values(), watches.echo, watches.page):
                stack.enter_context(watch)
            yield watches

    def start(self, watches: Watches) -> None:
        """Start the guest and wait until it answers; raises ``LabError`` after two minutes."""
        self._stage.run(self._stage.nodes[0], "qm", "start", str(self._vmid))
        if not watches.echo.first_answer.wait(BOOT_TIMEOUT_S):
            raise LabError(
                f"the guest did not answer within {BOOT_TIMEOUT_S:g} s: kvorum lab exec n1 -- qm status"
            )

    def migrate(self, source: str, target: str, watches: Watches, *options: str) -> Leg:
        """Move the guest while it runs; a failure is part of the result, not an exception."""
        time.sleep(AROUND_S)  # what is measured is time itself
        before = time.monotonic()
        command = ["qm", "migrate", str(self._vmid), target, "--online", "1", *options]
        done = self._stage.lab.exec(source, command, timeout_s=COMMAND_TIMEOUT_S)
        after = time.monotonic()
        time.sleep(AROUND_S)
        begin, end = before - AROUND_S, after + AROUND_S
        gap_s = longest_gap_s(watches.echo.arrivals, begin, end)
        seen = audit(counts(watches.chunks()))
        said = (done.stderr or done.stdout).strip().splitlines()
        return Leg(
            source,
            target,
            after - before,
            downtime_ms(done.stdout),
            gap_s * 1000,
            len(seen.lost),
            len(seen.repeated),
            (said or ["failed without a word"])[-1] if done.returncode else "",
        )

    def remove(self, node: str) -> None:
        """Stop the guest and destroy it with its disk."""
        for verb in ("stop", "destroy"):
            self._stage.lab.exec(node, ["qm", verb, str(self._vmid)], timeout_s=COMMAND_TIMEOUT_S)
        (self._stage.lab.places.shared / IMAGE_NAME).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Watches:
    """Everything that watches the guest."""

    serial: dict[str, SerialWatch]
    echo: EchoWatch
    page: PageWatch

    def chunks(self) -> list[Chunk]:
        """What was read from the serial console, at all nodes."""
        return [chunk for watch in self.serial.values() for chunk in list(watch.chunks)]

    def failures(self) -> list[str]:
        """Why the watching itself failed, if it did."""
        return [w.failure for w in (*self.serial.values(), self.echo, self.page) if w.failure]


def run(lab: Lab, *, keep: bool, say: IO[str]) -> Report:
    """Do it all; raises ``LabError`` (or another ``KvorumError``) when it can't be done at all."""
    stage = Stage(lab)
    print(f"nodes: {', '.join(stage.nodes)}; forming the cluster and making the guest", file=say)
    stage.form_cluster()
    stage.offer_storage()
    stage.open_network()
    guest = Demonstration.create(stage)
    at = stage.nodes[0]
    legs: list[Leg] = []
    lost = repeated = 0
    try:
        with guest.watched() as watches:
            guest.start(watches)
            print(f"the guest runs at {at} and answers at {guest.address}", file=say)
            for source, target in round_trip(stage.nodes):
                leg = guest.migrate(source, target, watches)
                legs.append(
                    Leg(
                        **{
                            **asdict(leg),
                            "counts_lost": leg.counts_lost - lost,
                            "counts_repeated": leg.counts_repeated - repeated,
                        }
                    )
                )
                lost, repeated = leg.counts_lost, leg.counts_repeated
                if leg.error:
                    print(f"{source} to {target} failed: {leg.error}", file=say)
                    break
                at = target
                print(f"{source} to {target}: {leg.duration_s:.1f} s", file=say)
            disks = _disks_in_order(watches.page)
        if failures := watches.failures():
            raise LabError(f"the guest could not be watched: {'; '.join(failures)}")
        return _report(legs, watches, disks)
    finally:
        if not keep:
            guest.remove(at)


def _disks_in_order(page: PageWatch) -> bool:
    """Whether the guest could write its disks to the end."""
    try:
        disks = page.ask().get("disks")
    except (OSError, ValueError):
        return False
    return (
        isinstance(disks, dict)
        and bool(disks)
        and all(d["error"] == 0 and d["flushed"] for d in disks.values())
    )


def _report(legs: Sequence[Leg], watches: Watches, disks_in_order: bool) -> Report:
    seen = audit(counts(watches.chunks()))
    return Report(
        legs=tuple(legs),
        counted=seen.last - seen.first + 1,
        counts_lost=len(seen.lost),
        counts_repeated=len(seen.repeated),
        echoes_sent=watches.echo.sent,
        echoes_back=len(watches.echo.arrivals),
        http_in_order=len(watches.page.answers) > 1 and in_order(watches.page.answers),
        disks_in_order=disks_in_order,
    )


def show(report: Report) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Live migration, round the lab")
    for name in ("from", "to"):
        table.add_column(name)
    for name in ("duration", "QEMU's downtime", "longest gap of echoes", "counts lost"):
        table.add_column(name, justify="right")
    for leg in report.legs:
        downtime = "-" if leg.downtime_ms is None else f"{leg.downtime_ms:.0f} ms"
        cells = (f"{leg.duration_s:.2f} s", downtime, f"{leg.longest_gap_ms:.0f} ms", str(leg.counts_lost))
        table.add_row(leg.source, leg.target, *cells, style="" if leg.good else "red")
    console = Console()
    console.print(table)
    console.print(
        f"{report.counted} counts on the serial console, {report.counts_lost} lost, "
        f"{report.counts_repeated} twice; "
        f"{report.echoes_back} of {report.echoes_sent} echoes; counter over HTTP "
        f"{'never went back' if report.http_in_order else 'WENT BACK OR WAS SILENT'}; "
        f"disk {'written to the end' if report.disks_in_order else 'FAILED'}"
    )


def main(argv: Sequence[str], lab: Lab | None = None) -> int:
    """``kvorum lab demo [--json] [--keep]``: 0 if nothing was lost, else 1."""
    parser = argparse.ArgumentParser(
        prog="kvorum lab demo", description="Live migration round the running lab."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--keep", action="store_true", help="leave the guest running")
    options = parser.parse_args(argv)
    try:
        report = run(lab or Lab(), keep=options.keep, say=sys.stderr)
    except (KvorumError, ImageFailed, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({**asdict(report), "good": report.good}))
    else:
        show(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
