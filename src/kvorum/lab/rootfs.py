"""Debian root file systems, built once and kept: machines boot from them, the package is built in one.

A root is found by the hash of all that is in it. It has two layers: the base (Debian's packages, the
dependencies of our .deb among them, half a minute) and on a copy of it the .deb (seconds).
A root appears under its name only when it is whole; two builders wait for each other.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.lab.cache import alone, hold, place, remove

SUITE = "trixie"
"""Debian 13."""
MIRROR = "http://deb.debian.org"
"""Where Debian's packages come from, unless ``KVORUM_DEBIAN_MIRROR`` names another."""
REPOSITORY = "usr/share/kvorum-lab/packages"
"""Where in a root the packages lie that its machines' apt can install."""
KEPT = 2
"""So many roots of a variant and layer stay."""
FORMAT = 1
"""Part of every key: raise it when this module builds roots otherwise than before."""
BUILD_S = 1800
"""Longest that one step of a build may take, downloads included."""
BUILD_PACKAGES = (
    "binutils",
    "ca-certificates",
    "dpkg-dev",
    "gcc",
    "libc6-dev",
    "libcfg-dev",
    "libcmap-dev",
    "libcpg-dev",
    "libfuse3-dev",
    "libquorum-dev",
    "librrd-dev",
    "libsystemd-dev",
    "libvotequorum-dev",
    "pkg-config",
    "python3",
    "python3-dev",
    "python3-venv",
)
"""What the variant ``build`` holds: enough to compile our dependencies for Debian 13's Python."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class RootError(KvorumError):
    """A root file system could not be built."""


def cached_root(
    variant: str,
    packages: Sequence[str],
    deb: Path | None = None,
    *,
    offered: Sequence[str] = (),
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return a Debian 13 root with ``packages`` and ``deb`` installed; build it if there is none. Read only.

    ``offered`` are packages that are not installed but lie, with what they need, in a repository inside of
    the root (``REPOSITORY``): its machines have no network, and their apt can install these.

    ``variant`` names the kind of root (``node``, ``plain``, ``build``). Each use of a root makes it newer.
    The root stays until this process ends at least; of what nobody uses, the ``KEPT`` newest of a variant.
    Raises ``RootError``.
    """
    tell = say or _say
    folder = cache or place()
    needed = sorted({*packages, *(dependencies(deb) if deb else ())})
    content = [*needed, *(f"offered {package}" for package in offered)]
    base_name = f"{variant}-base-{key(variant, content, None)}"
    name = f"{variant}-deb-{key(variant, content, deb)}" if deb else base_name
    root = folder / name
    if hold(root):
        return root
    _check_host()
    with alone(folder, tell):
        base = _whole(folder / base_name, lambda beside: _bootstrap(beside, variant, needed, offered, tell))
        if deb:
            package = deb
            _whole(root, lambda beside: _install(base, beside, variant, package, tell))
        if not hold(root):
            raise RootError(f"The root {root} was removed while it was built: run the same command again.")
        _remove_old(folder, variant, {base, root})
    return root


def key(variant: str, packages: Sequence[str], deb: Path | None) -> str:
    """Return 16 hex digits that differ whenever what is in the root differs."""
    digest = hashlib.sha256()
    for part in (str(FORMAT), SUITE, variant, *sorted(set(packages))):
        digest.update(part.encode() + b"\0")
    if deb:
        with deb.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def dependencies(deb: Path) -> list[str]:
    """Return the Debian packages that ``deb`` depends on, of alternatives the first. Raises ``RootError``."""
    fields = _run(["dpkg-deb", "--field", str(deb), "Depends", "Pre-Depends"], f"'{deb}' can't be read")
    return names_in(fields)


def names_in(fields: str) -> list[str]:
    """Return the names in ``Depends:`` lines: no versions, no architectures, of alternatives the first."""
    listed = ",".join(line.partition(":")[2] for line in _unfolded(fields))
    firsts = (entry.split("|")[0].strip() for entry in listed.split(","))
    return [re.split(r"[\s:(\[]", first, maxsplit=1)[0] for first in firsts if first]


def sources(mirror: str) -> list[str]:
    """Return the apt source lines of Debian 13 with its updates, from ``mirror``."""
    return [
        f"deb {mirror}/debian {SUITE} main",
        f"deb {mirror}/debian {SUITE}-updates main",
        f"deb {mirror}/debian-security {SUITE}-security main",
    ]


def apt_source() -> str:
    """The line of a machine's /etc/apt/sources.list for ``REPOSITORY``."""
    return f"deb [trusted=yes] file:/{REPOSITORY} ./\n"


def in_root(root: Path, command: Sequence[str], cause: str, **environment: str) -> str:
    """Run a command inside ``root`` with nothing of this process's environment; return its output.

    Raises ``RootError`` with ``cause`` and the last lines said.
    """
    clean = {"PATH": _PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    return _run(["chroot", str(root), *command], cause, clean | environment)


def _unfolded(fields: str) -> list[str]:
    return re.sub(r"\n[ \t]+", " ", fields).splitlines()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_host() -> None:
    if os.geteuid() != 0:
        raise RootError("A Debian root can only be built by root: run the same command with sudo.")
    if not shutil.which("mmdebstrap"):
        raise RootError(
            "A Debian root is built by mmdebstrap, which this host lacks: "
            "run `apt-get install mmdebstrap debian-archive-keyring`."
        )


def _whole(root: Path, build: Callable[[Path], None]) -> Path:
    """Build ``root`` beside its place and move it there when it is whole; do nothing when it is there."""
    if root.is_dir():
        os.utime(root)
        return root
    beside = Path(tempfile.mkdtemp(prefix=".building-", dir=root.parent))
    try:
        tree = beside / "root"
        build(tree)
        os.utime(tree)
        tree.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return root


def _bootstrap(
    root: Path, variant: str, packages: Sequence[str], offered: Sequence[str], tell: Callable[[str], None]
) -> None:
    tell(
        f"building a Debian 13 root '{variant}' of {len(packages)} packages (half a minute and the downloads)"
    )
    mirror = os.environ.get("KVORUM_DEBIAN_MIRROR") or MIRROR
    _run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--format=directory",
            "--aptopt=Acquire::Languages none",
            "--aptopt=Acquire::Retries 3",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--include={','.join(packages)}",
            *_fetching(offered),
            SUITE,
            str(root),
            *sources(mirror),
        ],
        f"The Debian root '{variant}' can't be built",
    )
    if offered:
        _index(root / REPOSITORY)


def _fetching(offered: Sequence[str]) -> list[str]:
    """mmdebstrap's options that fetch packages without installing them (see its manual, customize-hook)."""
    if not offered:
        return []
    folder = f'"$1"/{REPOSITORY}'
    fetch = (
        f"mkdir -p {folder}/partial && "
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --quiet --yes --no-install-recommends --download-only '
        f"-o Dir::Cache::archives={folder} install {' '.join(offered)} "
        f"&& rm -rf {folder}/partial {folder}/lock"
    )
    return [f"--customize-hook={fetch}"]


def _index(folder: Path) -> None:
    """Make a folder of packages a repository that apt reads by ``apt_source``."""
    entries = []
    for package in sorted(folder.glob("*.deb")):
        if "%" in package.name:  # an epoch's colon, which apt would take for a quoted one
            package = package.rename(folder / package.name.replace("%3a", "-"))
        fields = _run(["dpkg-deb", "--field", str(package)], f"'{package}' can't be read").rstrip("\n")
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = package.stat().st_size
        entries.append(f"{fields}\nFilename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(entries))


def _install(base: Path, root: Path, variant: str, deb: Path, tell: Callable[[str], None]) -> None:
    tell(f"installing {deb.name} into the root '{variant}'")
    _run(["cp", "--archive", "--reflink=auto", str(base), str(root)], "The base root can't be copied")
    shutil.copyfile(deb, root / "kvorum.deb")
    in_root(root, ["dpkg", "--install", "/kvorum.deb"], f"{deb.name} can't be installed")
    (root / "kvorum.deb").unlink()


def _run(command: Sequence[str], cause: str, environment: dict[str, str] | None = None) -> str:
    """Run to the end and return the output; raise ``RootError`` with the cause and the last lines said."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            timeout=BUILD_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise RootError(f"{cause}: this host lacks {command[0]}.") from error
    except subprocess.TimeoutExpired as error:
        raise RootError(f"{cause}: {command[0]} did not end within {BUILD_S} s.") from error
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise RootError(f"{cause}: {command[0]} ended with status {done.returncode}:\n{last}")
    return done.stdout


def _remove_old(folder: Path, variant: str, keep: set[Path]) -> None:
    """Leave each layer's ``KEPT`` newest, what ``keep`` names, what a process holds and what is mounted."""
    mounted = _mounted()
    for layer in ("base", "deb"):
        found = sorted(
            folder.glob(f"{variant}-{layer}-*"), key=lambda root: root.stat().st_mtime, reverse=True
        )
        for root in found[KEPT:]:
            if root not in keep and str(root) not in mounted:
                remove(root)


def _mounted() -> str:
    """Every process's mount table in one text, for roots that someone mounted without holding them."""
    tables: dict[str, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace = str((process / "ns" / "mnt").readlink())
            if namespace not in tables:
                tables[namespace] = (process / "mountinfo").read_text()
        except OSError:
            continue  # ended meanwhile
    return "\n".join(tables.values())
