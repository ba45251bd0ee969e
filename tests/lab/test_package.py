"""The built package: what is in it, and how it comes and goes in a Debian 13 without systemd running."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import builder_traces
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
    base = cached_root("node", [*plan.PACKAGES, *dependencies(deb)], offered=plan.OFFERED)
    root = tmp_path / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", base, root], check=True)
    shutil.copyfile(deb, root / "kvorum.deb")
    yield root
    shutil.rmtree(root)


def test_nothing_of_the_builder_is_in_it(content: Path) -> None:
    telling = builder_traces.all_of(REPOSITORY)
    secret = re.compile(b"|".join(re.escape(text.encode()) for text in telling))
    files = [path for path in content.rglob("*") if path.is_file() and not path.is_symlink()]
    found = {
        str(path.relative_to(content)): sorted({hit.decode() for hit in secret.findall(path.read_bytes())})
        for path in files
    }
    assert {path: hits for path, hits in found.items() if hits} == {}
    names = {path.name for path in files}
    assert not names & {"pip.conf", "direct_url.json", "ca-certificates.crt", "resolv.conf"}
    assert [path for path in files if path.suffix in (".pem", ".crt")] == []


def test_the_page_and_the_completions_are_in_it(content: Path) -> None:
    page = next(content.glob("usr/lib/kvorum/lib/python3.*/site-packages/kvorum/server/page"))
    shown = (page / "index.html").read_text()
    assert all((page / asset).is_file() for asset in re.findall(r'(?:src|href)="\./?([^"]+)"', shown))
    assert "<script" in shown
    completions = content / "usr/share/bash-completion/completions"
    commands = {path.name for path in (content / "usr/sbin").iterdir()}
    assert {path.name for path in completions.iterdir()} == commands
    for path in completions.iterdir():
        assert f" {path.name}" in path.read_text().splitlines()[-1]


def test_two_builds_are_equal(tmp_path: Path) -> None:
    build = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'packaging'); "
        "import os, build_deb; os.umask(int(sys.argv[2], 8)); build_deb.build(Path(sys.argv[1]))"
    )
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}  # else a commit made meanwhile were a difference
    builds = [
        subprocess.Popen(
            [sys.executable, "-c", build, tmp_path / name, mask], cwd=REPOSITORY, env=os.environ | epoch
        )
        for name, mask in (("one", "022"), ("two", "077"))
    ]
    assert [one.wait() for one in builds] == [0, 0]
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two"))
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(two).hexdigest()


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
    units = {"pve-cluster.service", "pve-guests.service", "pvedaemon.service", "pveproxy.service"}
    assert units <= {path.name for path in wanted.iterdir()}
    begun = machine / "etc/systemd/system/sockets.target.wants/spiceproxy.socket"
    assert begun.is_symlink()
    drop_in = machine / "etc/systemd/system/corosync.service.d/kvorum.conf"
    assert "ConditionPathExists=/etc/corosync/authkey" in drop_in.read_text()
    assert not (machine / "etc/corosync/corosync.conf").exists()
    assert "@include common-auth" in (machine / "etc/pam.d/kvorum").read_text()
    (machine / "var/lib/vz/disk.qcow2").write_text("a disk")
    (machine / "var/lib/pve-cluster/config.db").write_text("a database")

    in_root(machine, ["dpkg", "--remove", "kvorum"], "remove")
    assert not (machine / "usr/lib/kvorum").exists()
    assert (machine / "var/lib/pve-cluster/config.db").exists()

    in_root(machine, ["dpkg", "--purge", "kvorum"], "purge")
    assert not (machine / "var/lib/pve-cluster").exists()
    assert (machine / "var/lib/vz/disk.qcow2").exists()
    assert (machine / "etc/corosync/corosync.conf").read_text() == sample
    assert not drop_in.exists() and not begun.is_symlink()
    assert not (machine / "etc/pam.d/kvorum").exists()


def test_an_admins_corosync_configuration_is_left_alone_and_named(machine: Path) -> None:
    own = machine / "etc/corosync/corosync.conf"
    own.write_text("totem { version: 2 }\n")
    said = in_root(machine, ["dpkg", "--install", "/kvorum.deb"], "install")
    assert "/etc/corosync/corosync.conf is not Debian's default" in said
    assert own.read_text() == "totem { version: 2 }\n"
    assert not (machine / "etc/systemd/system/corosync.service.d/kvorum.conf").exists()
