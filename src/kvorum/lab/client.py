"""A lab's public face: what ``kvorum lab`` and the lab's tests call."""

from __future__ import annotations

import array
import fcntl
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kvorum.core.errors import DeadlineExceeded, KvorumError
from kvorum.lab import enter, needs, plan
from kvorum.lab.cgroup import Cgroup, hierarchy

_UP_S = 180.0
_REQUEST_S = 90.0
_DOWN_S = 30.0


class LabError(KvorumError):
    """The lab can't do that now; ``str()`` is the sentence."""


class Lab:
    """One lab, by its places. Raises ``LabError`` with a sentence wherever something can't be done.

    Without a ``directory`` it is the one of ``KVORUM_LAB_DIR``, and without that this host's first lab.
    """

    def __init__(self, directory: Path | None = None) -> None:
        if directory is None and (named := os.environ.get("KVORUM_LAB_DIR")):
            directory = Path(named)
        self.places = plan.Places.under(directory.resolve()) if directory else plan.Places()

    # --- the whole lab -------------------------------------------------------------------------------------

    def up(self, lab: plan.Plan, roots: Mapping[str, Path], page_port: int | None = 8006) -> None:
        """Build and boot ``lab`` over ``roots`` ("node" and "plain"); returns when every machine is up.

        The first node's port 8006 is relayed from 127.0.0.1:``page_port`` of the host (None: not).
        """
        if lacking := needs.missing(needs.look()):
            raise LabError(lacking)
        with self._alone():
            if self.is_up():
                raise LabError(
                    "The lab is already up: look at it by `kvorum lab status`, or `kvorum lab down`."
                )
            self._clear()
            page = self._listen(page_port) if page_port is not None and lab.nodes else None
            try:
                self._start(lab, roots, page)
            except BaseException:
                self._clear()
                raise
            finally:
                if page:
                    page.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other ``up`` and ``down`` of this lab waiting, by a lock on a directory that stays anyway."""
        place = self.places.state.parent
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _listen(self, port: int) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            listening.close()
            raise LabError(
                f"The lab's page can't have 127.0.0.1:{port} ({error.strerror}): "
                "choose another by --page-port."
            ) from error
        listening.listen(64)
        return listening

    def _start(self, lab: plan.Plan, roots: Mapping[str, Path], page: socket.socket | None) -> None:
        self.places.state.mkdir(parents=True, mode=0o700)
        self.places.machines.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.places.password.touch(mode=0o600)
        self.places.password.write_text(secrets.token_urlsafe(12) + "\n")
        base = self._cgroup()
        base.create()
        base.hand_down_controllers()
        order = {
            "state": str(self.places.state),
            "machines": str(self.places.machines),
            "cgroup": str(base.path),
            "nodes": lab.nodes,
            "plain": lab.plain,
            "lossy": lab.lossy,
            "roots": {kind: str(path) for kind, path in roots.items()},
            "page_port": page.getsockname()[1] if page else None,
        }
        self.places.record.write_text(json.dumps(order))
        told, tell = os.pipe()
        argv = [sys.executable, "-m", "kvorum.lab.warden", json.dumps(order), str(tell)]
        inherited = [tell]
        if page:
            argv.append(str(page.fileno()))
            inherited.append(page.fileno())
        with self.places.log.open("ab") as log, os.fdopen(told, "rb") as report:
            try:
                starter = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=inherited,
                    start_new_session=True,
                    cwd="/",
                )
            finally:
                os.close(tell)
            starter.wait(_UP_S)
            self._hear(report)

    def _hear(self, report: IO[bytes]) -> None:
        ready, _, _ = select.select([report], [], [], _UP_S)
        if not ready:
            raise LabError(f"The lab was not up within {_UP_S:g} s; its warden said: {self._last_log()}")
        said = report.read()
        answer = json.loads(said) if said else {"error": f"its warden ended: {self._last_log()}"}
        if "error" in answer:
            raise LabError(f"The lab did not come up: {answer['error']}")

    def _last_log(self) -> str:
        lines = self.places.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def down(self) -> bool:
        """Take the lab away: no process, mount, namespace, loop device or file stays.

        Returns whether there was anything to take away.
        """
        was_there = self.places.state.exists() or self.places.machines.exists()
        if self.is_up():
            with suppress(KvorumError):  # what the warden can't undo, killing it does
                self._ask("down")
        self._cgroup().kill()  # an `up` that is under way ends too, and then lets us in
        with self._alone():
            self._clear()
        return was_there

    def _clear(self) -> None:
        base = self._cgroup()
        if base.path.exists():
            base.kill()
            if not base.wait_empty(_DOWN_S):
                raise LabError(
                    f"The lab's processes did not die within {_DOWN_S:g} s: see {base.path}/cgroup.procs"
                )
            base.remove()
        self._await_loop_devices()
        for folder in (self.places.machines, self.places.state):
            if folder.exists():
                shutil.rmtree(folder)

    def _await_loop_devices(self) -> None:
        """The kernel frees loop devices shortly after the last mount, and tells nobody: look until it has."""
        ours = f"{self.places.machines}/"
        end = time.monotonic() + _DOWN_S
        while any(path.startswith(ours) for path in _loop_backings()):
            if time.monotonic() > end:
                raise LabError(f"A loop device still holds a disk of {ours}: look at `losetup --list`.")
            time.sleep(0.05)

    def is_up(self) -> bool:
        """Whether the lab's warden answers."""
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with probe:
            try:
                probe.connect(str(self.places.socket))
            except OSError:
                return False
        return True

    def status(self) -> dict[str, object]:
        """The machines (name, plain, state, addresses), the faults, the page and the root password."""
        answer, _ = self._ask("status")
        port = json.loads(self.places.record.read_text())["page_port"]
        return {
            "machines": answer["machines"],
            "faults": answer["faults"],
            "lossy": answer["lossy"],
            "page": None if port is None else f"https://127.0.0.1:{port}",
            "password": self.password,
        }

    @property
    def password(self) -> str:
        """Root's password on every machine."""
        return self.places.password.read_text().strip()

    def states(self) -> dict[str, str]:
        """Each machine's state: running, frozen, cut or off."""
        machines = self.status()["machines"]
        assert isinstance(machines, list)
        return {machine["name"]: machine["state"] for machine in machines}

    # --- in a machine --------------------------------------------------------------------------------------

    def popen(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        stdin: enter.Stream = None,
        stdout: enter.Stream = None,
        stderr: enter.Stream = None,
    ) -> subprocess.Popen[bytes]:
        """Start ``argv`` as root in a machine, or (``switch``) with the host's files in the lab's network."""
        with self._init_of(machine) as (init, group):
            return _started(machine, init, group, argv, (stdin, stdout, stderr))

    def exec(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout_s: float = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` as root in a machine and return what it said, as text, with its exit status.

        Raises ``LabError`` with its words when it fails and ``check`` is set, and when the machine went down
        under it; ``DeadlineExceeded`` after ``timeout_s``.
        """
        given = None if input is None else input.encode()
        streams = (subprocess.DEVNULL if given is None else subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
        with self._init_of(machine) as (init, group):
            process = _started(machine, init, group, argv, streams)
            try:
                out, err = process.communicate(given, timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise DeadlineExceeded(
                    f"'{' '.join(argv)}' on {machine} did not end within {timeout_s:g} s"
                ) from None
            if process.returncode and not enter.is_there(init):
                raise LabError(f"{machine} went down while it ran '{' '.join(argv)}'")
        done = subprocess.CompletedProcess(
            list(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"'{' '.join(argv)}' on {machine} ended with {done.returncode}: {said}")
        return done

    @contextmanager
    def _init_of(self, machine: str) -> Iterator[tuple[int, Cgroup | None]]:
        """A pidfd of the machine's init and the control group that who enters it joins (``switch``: none)."""
        answer, (init,) = self._ask("enter", machine=machine)
        group = answer["cgroup"]
        try:
            yield init, Cgroup(self._cgroup().path / str(group)) if group else None
        finally:
            os.close(init)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A new socket in the lab's own network, from which every machine and every guest can be reached."""
        _, descriptors = self._ask("socket", family=family, type=kind)
        return socket.socket(family, kind, fileno=descriptors[0])

    def journal_argv(self, machine: str) -> list[str]:
        """The command that shows a machine's journal on the host, also while the machine is off."""
        if machine not in self.states():
            raise LabError(f"there is no machine '{machine}' in this lab, only {', '.join(self.states())}")
        return ["journalctl", "--no-pager", f"--directory={self.places.machine(machine).journal}"]

    # --- faults --------------------------------------------------------------------------------------------

    def cut(self, machine: str) -> None:
        """Take a machine's power away without warning."""
        self._ask("cut", machine=machine)

    def power(self, machine: str) -> None:
        """Switch a cut or shut down machine on and wait until it is up."""
        self._ask("power", machine=machine)

    def freeze(self, machine: str) -> None:
        """Stop every process of a machine where it is."""
        self._ask("freeze", machine=machine)

    def thaw(self, machine: str) -> None:
        """Let a frozen machine go on."""
        self._ask("thaw", machine=machine)

    def partition(self, sides: str, link: int | None = None) -> None:
        """Cut the network: ``n1,n2|n3``, or ``n1>n3`` one way; ``link`` 0 or 1 for that one alone."""
        self._ask("partition", sides=sides, link=link)

    def loss(self, percent: float, link: int | None = None) -> None:
        """Lose ``percent`` of all frames between machines."""
        self._ask("loss", percent=percent, link=link)

    def heal(self) -> None:
        """End all partitions and losses."""
        self._ask("heal")

    def clock(self, machine: str, seconds: float) -> None:
        """Shift the wall clock of our daemons on a machine (0: back to right) and restart those that run."""
        self._ask("clock", machine=machine, seconds=seconds)
        self.exec(machine, ["systemctl", "daemon-reload"], check=True)
        patterns = [f"{unit[:-1]}[{unit[-1]}]" for unit in plan.CLOCKED_UNITS]
        # systemctl(1) fails on a unit that is not installed, but not on a pattern that matches none
        self.exec(machine, ["systemctl", "try-restart", *patterns], check=True)

    def recover(self) -> None:
        """End every fault: heal the network, thaw what is frozen, switch on what is off."""
        self.heal()
        for machine, state in self.states().items():
            if state == "frozen":
                self.thaw(machine)
            elif state in ("cut", "off"):
                self.power(machine)

    # --- the warden ----------------------------------------------------------------------------------------

    def _cgroup(self) -> Cgroup:
        mounted = hierarchy(Path("/proc/self/mountinfo").read_text())
        if mounted is None:
            raise LabError(needs.missing(needs.look()) or "The lab needs version 2 control groups.")
        return Cgroup(mounted / self.places.cgroup)

    def _ask(self, op: str, **more: object) -> tuple[dict[str, object], list[int]]:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with asking:
            asking.settimeout(_REQUEST_S)
            try:
                asking.connect(str(self.places.socket))
            except OSError:
                raise LabError("The lab is not up: start it by `kvorum lab up`.") from None
            try:
                asking.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
                data, descriptors = _receive(asking)
            except ConnectionError:
                data, descriptors = b"", []  # it was killed before it had read what we asked
            except TimeoutError:
                raise DeadlineExceeded(
                    f"The lab's warden did not answer '{op}' within {_REQUEST_S:g} s"
                ) from None
        if not data:
            raise LabError(f"The lab's warden ended while it did '{op}': see {self.places.log}")
        answer: dict[str, object] = json.loads(data)
        if not answer.pop("ok"):
            raise LabError(str(answer["error"]))
        return answer, descriptors


def _receive(asking: socket.socket) -> tuple[bytes, list[int]]:
    data = b""
    descriptors: list[int] = []
    while not data.endswith(b"\n"):
        more, ancillary, _, _ = asking.recvmsg(65536, socket.CMSG_SPACE(4 * array.array("i").itemsize))
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                got = array.array("i")
                got.frombytes(content[: len(content) - len(content) % got.itemsize])
                descriptors += got
        if not more:
            break
        data += more
    return data, descriptors


def _started(
    machine: str, init: int, group: Cgroup | None, argv: Sequence[str], streams: tuple[enter.Stream, ...]
) -> subprocess.Popen[bytes]:
    try:
        return enter.start(init, group, argv, *streams)
    except enter.NotEntered:
        raise LabError(f"{machine} went down just now: try again when it runs") from None
    except OSError as error:
        raise LabError(f"'{argv[0]}' can't be started on {machine}: {error}") from error


def _loop_backings() -> list[str]:
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            found.append(path.read_text().strip())
    return found
