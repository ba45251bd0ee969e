"""What watches the guest of the demonstration from outside: its serial console, its echoes, its page.

Each is a thread that only notes what it sees and when (CLOCK_MONOTONIC); the figures are computed afterwards.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from kvorum.lab.client import Lab
from kvorum.lab.demo_figures import Chunk

ECHO_INTERVAL_S = 0.01
HTTP_INTERVAL_S = 0.5
HTTP_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0

# Runs in a node: connects to the guest's serial socket whenever there is one, and tells what comes and when.
# The socket is there as soon as QEMU is, long before a guest begins to run at its target.
SERIAL_READER = """
import json, socket, sys, time
while True:
    try:
        with socket.socket(socket.AF_UNIX) as serial:
            serial.connect(sys.argv[1])
            while part := serial.recv(4096):
                print(json.dumps([time.monotonic(), part.hex()]), flush=True)
    except BrokenPipeError:
        break
    except OSError:
        pass
    time.sleep(0.005)
"""


class Watch:
    """A thread that runs while the ``with`` block does; ``failure`` says why it ended early, if it did."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self.failure = ""

    def watch(self) -> None:
        """What the thread does until ``_over`` is set."""
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.watch()
        except Exception as error:
            self.failure = f"{type(self).__name__}: {error}"

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.finish()
        self._thread.join(STOP_TIMEOUT_S)

    def finish(self) -> None:
        """Whatever ends a blocking read of the thread."""


class SerialWatch(Watch):
    """Reads one node's end of the guest's serial console."""

    def __init__(self, lab: Lab, node: str, path: str) -> None:
        super().__init__()
        self._process = lab.popen(
            node,
            ["python3", "-u", "-c", SERIAL_READER, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.chunks: list[Chunk] = []

    def watch(self) -> None:
        """Note every chunk."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at_s, content = json.loads(line)
            self.chunks.append(Chunk(at_s, bytes.fromhex(content)))
        if not self._over.is_set():
            raise RuntimeError("the reader of the serial console ended by itself")

    def finish(self) -> None:
        """End the reader in the node."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(STOP_TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


class EchoWatch(Watch):
    """Sends a hundred packets a second to the guest's echo port and notes when answers come."""

    def __init__(self, lab: Lab, address: str) -> None:
        super().__init__()
        self._socket = lab.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._peer = (address, 7)
        self.arrivals: list[float] = []
        self._next = 0
        self._first_answered: int | None = None
        self.first_answer = threading.Event()

    @property
    def sent(self) -> int:
        """Packets from the first that was answered on: what the guest could not hear is not counted."""
        return 0 if self._first_answered is None else self._next - self._first_answered

    def watch(self) -> None:
        """Send on time, whatever comes back."""
        self._socket.setblocking(False)
        due = time.monotonic()
        while not self._over.is_set():
            try:
                self._socket.sendto(struct.pack("!Q", self._next), self._peer)
                self._next += 1
            except (BlockingIOError, OSError):
                pass  # no route or no neighbour yet: an echo that does not come is what is measured
            due += ECHO_INTERVAL_S
            while (left := due - time.monotonic()) > 0:
                if select.select([self._socket], [], [], left)[0]:
                    self._receive()
            if due < time.monotonic() - 1:
                due = time.monotonic()

    def _receive(self) -> None:
        try:
            (number,) = struct.unpack("!Q", self._socket.recv(64))
        except (OSError, struct.error):
            return
        if self._first_answered is None or number < self._first_answered:
            self._first_answered = number
        self.arrivals.append(time.monotonic())
        self.first_answer.set()

    def finish(self) -> None:
        """Close the socket when the thread has seen the end."""
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()


class PageWatch(Watch):
    """Reads the guest's counter over HTTP twice a second."""

    def __init__(self, lab: Lab, address: str) -> None:
        super().__init__()
        self._lab = lab
        self._address = address
        self.answers: list[tuple[float, int]] = []

    def watch(self) -> None:
        """Ask, note, wait; a request that gets no answer is simply not noted."""
        while not self._over.wait(HTTP_INTERVAL_S):
            try:
                told = self.ask()
            except (OSError, ValueError):
                continue
            count = told.get("count")
            if isinstance(count, int):
                self.answers.append((time.monotonic(), count))

    def ask(self) -> dict[str, object]:
        """One request; raises ``OSError`` or ``ValueError`` when there is no whole answer."""
        with self._lab.socket() as connection:
            connection.settimeout(HTTP_TIMEOUT_S)
            connection.connect((self._address, 80))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
        if not isinstance(told, dict):
            raise ValueError("the guest's answer is no object")
        return told


def in_order(answers: Sequence[tuple[float, int]]) -> bool:
    """Whether the counter never went back."""
    return all(after[1] >= before[1] for before, after in itertools.pairwise(answers))
