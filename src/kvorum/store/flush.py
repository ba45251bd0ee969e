"""fdatasync for an event loop: asked for without blocking, answered by a callback.

The kernel does it (io_submit(2) with IOCB_CMD_FDSYNC, Linux 4.18 and later) and signals an eventfd: no thread
of ours wakes for a write, which on a busy machine costs more than the sync itself. Elsewhere a thread does.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import platform
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

log = logging.getLogger(__name__)

Done = Callable[[OSError | None], None]
"""Told in the event loop how a sync ended."""

_SETUP_SUBMIT_GETEVENTS = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}
_FDSYNC = 3
_RESFD = 1


class _Iocb(ctypes.Structure):
    """struct iocb of linux/aio_abi.h, little-endian."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("resfd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("object", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class Flusher(ABC):
    """Syncs one descriptor at a time. All methods belong to the event loop's thread."""

    @abstractmethod
    def start(self, descriptor: int, done: Done) -> None:
        """Sync what was written to ``descriptor`` before this call; one at a time."""

    @abstractmethod
    def close(self) -> None:
        """Call no callback any more. A sync that hangs is left to the kernel."""


def flusher() -> Flusher:
    """The kernel's way if there is one, else a thread."""
    try:
        return KernelFlusher()
    except OSError as error:
        log.info("syncing in a thread, since the kernel does not do it by itself: %s", error)
        return ThreadFlusher()


class KernelFlusher(Flusher):
    """Linux's asynchronous I/O; raises ``OSError`` where it is not to be had."""

    def __init__(self) -> None:
        numbers = _SETUP_SUBMIT_GETEVENTS.get(platform.machine())
        if numbers is None:
            raise OSError(errno.ENOSYS, f"no system call numbers for {platform.machine()}")
        setup, self._submit, self._getevents = numbers
        # PyDLL: these calls do not block, so the interpreter need not be let go for them.
        self._library = ctypes.PyDLL(None, use_errno=True)
        self._library.syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._call(setup, ctypes.c_uint(1), ctypes.byref(self._context))
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._control = _Iocb(opcode=_FDSYNC, flags=_RESFD, resfd=self._eventfd)
        self._controls = (ctypes.POINTER(_Iocb) * 1)(ctypes.pointer(self._control))
        self._event = _Event()
        self._done: Done | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._eventfd, self._ended)

    def start(self, descriptor: int, done: Done) -> None:
        assert self._done is None, "one sync at a time"
        self._control.descriptor = descriptor
        self._done = done
        try:
            self._call(self._submit, self._context, ctypes.c_long(1), self._controls)
        except OSError as error:
            self._loop.call_soon(self._tell, error)

    def close(self) -> None:
        self._loop.remove_reader(self._eventfd)
        os.close(self._eventfd)
        self._done = None

    def _call(self, number: int, *arguments: object) -> int:
        result = int(self._library.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def _ended(self) -> None:
        os.eventfd_read(self._eventfd)
        one = ctypes.c_long(1)
        if self._call(self._getevents, self._context, one, one, ctypes.byref(self._event), None) != 1:
            return
        result = int(self._event.result)
        self._tell(OSError(-result, os.strerror(-result)) if result < 0 else None)

    def _tell(self, error: OSError | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)


class ThreadFlusher(Flusher):
    """A thread that calls fdatasync(2)."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[int, Done] | None] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._run, name="store-sync", daemon=True).start()

    def start(self, descriptor: int, done: Done) -> None:
        self._queue.put((descriptor, done))

    def close(self) -> None:
        self._closed = True
        self._queue.put(None)

    def _run(self) -> None:
        while (asked := self._queue.get()) is not None:
            descriptor, done = asked
            failed: OSError | None = None
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                failed = error
            try:
                self._loop.call_soon_threadsafe(self._tell, done, failed)
            except RuntimeError:
                log.debug("the event loop is closed already")
                return

    def _tell(self, done: Done, error: OSError | None) -> None:
        if not self._closed:
            done(error)
