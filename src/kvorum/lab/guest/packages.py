"""Debian packages for the guest: fetched by apt into a directory of our own, unpacked by dpkg-deb.

Nothing of the host's package state is read or changed; only its keyring is used to check what is fetched.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kvorum.lab.rootfs import MIRROR, SUITE

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FETCH_TIMEOUT_S = 900.0
UNPACK_TIMEOUT_S = 120.0


class FetchFailed(Exception):
    """Packages could not be fetched or unpacked; the sentence names which and why."""


class Apt:
    """An apt of our own, under ``directory``; what was fetched before is not fetched again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._configuration = directory / "apt.conf"
        for part in ("state/lists/partial", "cache/archives/partial"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()
        mirror = os.environ.get("KVORUM_DEBIAN_MIRROR") or MIRROR
        (directory / "sources.list").write_text(
            f"deb [arch=amd64 signed-by={KEYRING}] {mirror}/debian {SUITE} main\n"
        )
        self._configuration.write_text(
            f'Dir::State "{directory}/state";\nDir::State::status "{directory}/status";\n'
            f'Dir::Cache "{directory}/cache";\nDir::Etc::sourcelist "{directory}/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
            'Dir::Etc::main "/dev/null";\nAPT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
            'APT::Install-Recommends "false";\nAPT::Sandbox::User "root";\nAcquire::Retries "3";\n'
        )

    def update(self) -> None:
        """Fetch the suite's index; raises ``FetchFailed``."""
        self._run(["apt-get", "-qq", "update"], FETCH_TIMEOUT_S)

    def closure(self, packages: Sequence[str]) -> list[str]:
        """``NAME=VERSION`` of these packages and all they depend on, sorted; raises ``FetchFailed``."""
        text = self._run(["apt-get", "-qq", "--simulate", "install", *packages], UNPACK_TIMEOUT_S)
        found = []
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["Inst"]:
                found.append(f"{words[1]}={words[2].lstrip('(')}")
        return sorted(found)

    def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Fetch exactly these ``NAME=VERSION`` and unpack them into ``root``; raises ``FetchFailed``."""
        command = ["apt-get", "-qq", "--yes", "--download-only", "--no-install-recommends", "install"]
        self._run([*command, *packages], FETCH_TIMEOUT_S)
        for directory in ("bin", "sbin", "lib", "lib64"):
            (root / "usr" / directory).mkdir(parents=True, exist_ok=True)
            (root / directory).symlink_to(f"usr/{directory}")
        archives = self._directory / "cache" / "archives"
        for package in packages:
            name, _, version = package.partition("=")
            fitting = sorted(archives.glob(f"{name}_{version.replace(':', '%3a')}_*.deb"))
            if not fitting:
                raise FetchFailed(f"{package} was not fetched: look at the space left in {archives}")
            self._run(["dpkg-deb", "--extract", str(fitting[0]), str(root)], UNPACK_TIMEOUT_S)

    def _run(self, command: Sequence[str], timeout_s: float) -> str:
        return run(command, timeout_s, {**os.environ, "APT_CONFIG": str(self._configuration)})


def run(command: Sequence[str], timeout_s: float, environment: dict[str, str] | None = None) -> str:
    """Run a program and return its output; raises ``FetchFailed`` with the end of what it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
        )
    except FileNotFoundError:
        raise FetchFailed(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"{command[0]} did not end within {timeout_s:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-600:]
        raise FetchFailed(f"{' '.join(command[:4])} … failed: {said}")
    return done.stdout
