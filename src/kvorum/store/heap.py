"""Gives back the memory that glibc keeps: after large files have passed, pages lie free between used ones."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Let the kernel have what is free (malloc_trim(3)), in some milliseconds; only glibc can."""
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
