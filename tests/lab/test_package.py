"""The built package: what is in it, and how it comes and goes in a Debian 13 without systemd running."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.lab import plan
from kvorum.lab.rootfs import cached_root, dependencies, in_root

REPOSITORY = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def deb() -> Path:
    found = sorted((REPOSITORY / "dist").glob("kvorum_*_amd64.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "no package in dist/: run `make deb`"
    return found[-1]


@pytest.fixture(scope="module")
def content(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("deb") / "content"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, target], check=True)
    return target


@pytest.fixture
def machine(deb: Path, tmp_path: Path) -> Iterator[Path]:
    """A throw-away copy of a Debian 13 that has what the package depends on."""
    base = cached_root("node", [*plan.PACKAGES, *dependencies(deb)])
    root = tmp_path / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", base, root], check=True)
    shutil.copyfile(deb, root / "kvorum.deb")
    yield root
    shutil.rmtree(root)


def test_nothing_of_the_builder_is_in_it(content: Path) -> None:
    secret = re.compile(
        rb"opt/wheels|opt/pypi|/tmp/source|/tmp/ca\.crt|" + re.escape(str(REPOSITORY)).encode()
    )
    files = [path for path in content.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if secret.search(path.read_bytes())] == []
    names = {path.name for path in files}
    assert not names & {"pip.conf", "direct_url.json", "ca-certificates.crt", "resolv.conf"}
    assert [path for path in files if path.suffix in (".pem", ".crt")] == []


def test_compiled_modules_lie_in_the_environment_only(content: Path) -> None:
    home = content / "usr/lib/kvorum"
    assert [path for path in content.rglob("__pycache__") if home not in path.parents] == []
    assert list(home.rglob("kvorum/core/__pycache__/paths.*.pyc"))


def test_install_remove_purge(machine: Path) -> None:
    sample = (machine / "etc/corosync/corosync.conf").read_text()
    in_root(machine, ["dpkg", "--install", "/kvorum.deb"], "install")
    assert (machine / "etc/pve").is_dir()
    assert (machine / "var/lib/pve-cluster").stat().st_mode & 0o777 == 0o700
    wanted = machine / "etc/systemd/system/multi-user.target.wants"
    units = {"pve-cluster.service", "pvedaemon.service", "pveproxy.service"}
    assert units <= {path.name for path in wanted.iterdir()}
    drop_in = machine / "etc/systemd/system/corosync.service.d/kvorum.conf"
    assert "ConditionPathExists=/etc/corosync/authkey" in drop_in.read_text()
    assert not (machine / "etc/corosync/corosync.conf").exists()
    (machine / "var/lib/vz/disk.qcow2").write_text("a disk")
    (machine / "var/lib/pve-cluster/config.db").write_text("a database")

    in_root(machine, ["dpkg", "--remove", "kvorum"], "remove")
    assert not (machine / "usr/lib/kvorum").exists()
    assert (machine / "var/lib/pve-cluster/config.db").exists()

    in_root(machine, ["dpkg", "--purge", "kvorum"], "purge")
    assert not (machine / "var/lib/pve-cluster").exists()
    assert (machine / "var/lib/vz/disk.qcow2").exists()
    assert (machine / "etc/corosync/corosync.conf").read_text() == sample
    assert not drop_in.exists()


def test_an_admins_corosync_configuration_is_left_alone_and_named(machine: Path) -> None:
    own = machine / "etc/corosync/corosync.conf"
    own.write_text("totem { version: 2 }\n")
    said = in_root(machine, ["dpkg", "--install", "/kvorum.deb"], "install")
    assert "/etc/corosync/corosync.conf is not Debian's default" in said
    assert own.read_text() == "totem { version: 2 }\n"
    assert not (machine / "etc/systemd/system/corosync.service.d/kvorum.conf").exists()
