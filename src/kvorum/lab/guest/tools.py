"""Programs out of unpacked Debian packages, run on this host with their own loader and libraries.

So they need neither the host's packages nor root: no chroot, no mount.
"""

from __future__ import annotations

from pathlib import Path

from kvorum.lab.guest.packages import run

TIMEOUT_S = 120.0
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Tools:
    """The programs below ``root``; ``scratch`` gets what is needed to run them."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._bin = scratch / "bin"
        self._bin.mkdir()
        for name in ("mformat", "mcopy", "mattrib", "mmove"):
            self._wrap(name, "usr/bin/mtools")
        self._wrap("syslinux", "usr/bin/syslinux")

    def _wrap(self, name: str, program: str) -> None:
        """A script that stands for a program; mtools and others look at the name they are called by."""
        script = self._bin / name
        loader, libraries = self._root / _LOADER, self._root / _LIBRARIES
        command = f"'{loader}' --argv0 {name} --library-path '{libraries}' '{self._root / program}'"
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)

    def run(self, name: str, *arguments: str) -> str:
        """Run one of the programs and return its output; raises ``FetchFailed``."""
        environment = {"PATH": f"{self._bin}:/usr/bin:/bin", "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
        return run([str(self._bin / name), *arguments], TIMEOUT_S, environment)

    def libraries(self, program: str) -> list[str]:
        """A program, its loader and its libraries as paths below ``root``, resolved by the loader itself."""
        loader = str(self._root / _LOADER)
        library_path = str(self._root / _LIBRARIES)
        text = run([loader, "--library-path", library_path, "--list", str(self._root / program)], TIMEOUT_S)
        found = [program, _LOADER.removeprefix("usr/")]
        for line in text.splitlines():
            words = line.split()
            if "=>" in words and words[2].startswith(str(self._root)):
                found.append(str(Path(words[2]).relative_to(self._root)))
        return sorted(set(found))
