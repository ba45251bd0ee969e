"""Makes ``_abi.py`` from the declarations, so that nothing parses C when a command starts.

Run as ``python -m kvorum.corosync.native.generate``. No compiler is needed: cffi's ABI mode.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI  # type: ignore[import-untyped]

from kvorum.corosync.native.declarations import DECLARATIONS

_HEADER = "# fmt: off\n# ruff: noqa\n# mypy: ignore-errors\n"
TARGET = Path(__file__).with_name("_abi.py")


def generate(target: Path = TARGET) -> None:
    """Write the generated module to ``target``."""
    ffi = FFI()
    ffi.set_source("kvorum.corosync.native._abi", None)
    ffi.cdef(DECLARATIONS)
    ffi.emit_python_code(str(target))
    target.write_text(_HEADER + target.read_text())


if __name__ == "__main__":
    generate()
