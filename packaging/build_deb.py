"""``make deb``: builds dist/kvorum_VERSION_amd64.deb for Debian 13, the same bytes for the same commit.

The virtual environment is made at its place in a copy of Debian 13's root, so that interpreter, compiled
modules and paths are those of the node. The host's CA certificates and name servers are lent to that copy
alone; of it nothing but /usr/lib/kvorum goes into the package.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvorum.core.errors import KvorumError
from kvorum.lab.cache import alone, hold, place, remove
from kvorum.lab.rootfs import BUILD_PACKAGES, cached_root, in_root

REPOSITORY = Path(__file__).resolve().parent.parent
HERE = REPOSITORY / "packaging"
HOME = Path("usr/lib/kvorum")
"""Where the virtual environment lies, in the package and in the root it is made in."""
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
ALWAYS = ("pvecm", "pvesh", "qm")
"""Commands beside those that the generated table names."""
CFLAGS = (
    "-O2 -g -Wno-error -Wno-incompatible-pointer-types -Wno-implicit-function-declaration -Wno-int-conversion"
)
"""For compiled dependencies: rrdtool 0.1.16 has what GCC 14 (Debian 13's) takes for errors, not warnings."""
PIP_SETTINGS = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "retries")
"""What is taken over from the host's pip; it works in the environment only and is written nowhere."""


def main() -> int:
    """Build the package; print its path, or the sentence that says why not."""
    try:
        print(build(REPOSITORY / "dist"))
    except KvorumError as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


def build(target: Path) -> Path:
    """Build the package into ``target`` and return its path. Raises ``KvorumError``."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="kvorum-deb-") as scratch:
        content = Path(scratch) / "content"
        content.mkdir(mode=0o755)
        with build_root(Path(scratch)) as root:
            environment(root)
            shutil.copytree(root / HOME, content / HOME, symlinks=True)
        add_files(content, version)
        add_control(content, version)
        date(content)
        target.mkdir(exist_ok=True)
        deb = target / f"kvorum_{version}_amd64.deb"
        unfinished = deb.with_suffix(".unfinished")
        run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", str(content), str(unfinished)])
        unfinished.rename(deb)
    return deb


def epoch() -> int:
    """The time that every file of the package gets: SOURCE_DATE_EPOCH, else the commit's."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    shown = subprocess.run(
        ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(shown.stdout.strip() or 1_700_000_000)


@contextmanager
def build_root(scratch: Path) -> Iterator[Path]:
    """A copy of Debian 13's root with compilers in it; gone at the end."""
    root = scratch / "root"
    run(["cp", "--archive", "--reflink=auto", str(cached_root("build", BUILD_PACKAGES)), str(root)])
    for bundle in map(Path, CA_BUNDLES):
        if bundle.exists():
            shutil.copyfile(bundle, root / "tmp" / "ca.crt")
            break
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    yield root


def environment(root: Path) -> None:
    """Make the virtual environment at ``HOME`` in ``root``: the pinned dependencies, then our own wheel."""
    home = f"/{HOME}"
    pinned = [REPOSITORY / "requirements.txt", HERE / "requirements-build.txt"]
    parts = (*(path.read_bytes() for path in pinned), CFLAGS.encode(), cached_base(root))
    made = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    kept = place() / f"venv-{made}"
    for path in pinned:
        shutil.copyfile(path, root / "tmp" / path.name)
    settings = pip_settings()
    cause = "The package's virtual environment can't be made"
    builder = "/opt/builder/bin/pip"
    if not hold(kept):
        say("installing the pinned dependencies into the package's virtual environment")
        in_root(root, ["python3", "-m", "venv", "/opt/builder"], cause)
        in_root(root, [builder, "install", "-q", "-r", "/tmp/requirements-build.txt"], cause, **settings)
        in_root(root, ["python3", "-m", "venv", "--without-pip", home], cause)
        into = [builder, "--python", f"{home}/bin/python", "install", "--no-compile", "-q"]
        in_root(root, [*into, "-r", "/tmp/requirements.txt"], cause, CFLAGS=CFLAGS, **settings)
        keep(root, kept)
    else:
        run(["cp", "--archive", f"{kept}/builder", f"{root}/opt/builder"])
        run(["cp", "--archive", f"{kept}/kvorum", f"{root}/{HOME}"])
    source = root / "tmp" / "source"
    shutil.copytree(
        REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(REPOSITORY / name, source / name)
    wheel = [builder, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "/tmp/wheel", "/tmp/source"]
    in_root(root, wheel, "Our own wheel can't be built", **settings)
    own = f"/tmp/wheel/{next((root / 'tmp' / 'wheel').iterdir()).name}"
    into = [
        builder,
        "--python",
        f"{home}/bin/python",
        "install",
        "--no-compile",
        "--no-deps",
        "--no-index",
        "-q",
    ]
    in_root(root, [*into, own], "Our own wheel can't be installed")
    tidy(root)
    compile_all = [
        f"{home}/bin/python",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        home,
    ]
    in_root(root, compile_all, "The package's modules can't be compiled", PYTHONHASHSEED="0")


def cached_base(root: Path) -> bytes:
    """What identifies the Debian the environment is made for: its installed packages."""
    return (root / "var/lib/dpkg/status").read_bytes()


def keep(root: Path, kept: Path) -> None:
    """Keep builder and dependencies for the next build, so that a change of ours costs seconds."""
    with alone(kept.parent, say):
        for old in kept.parent.glob("venv-*"):
            if old != kept:
                remove(old)
        if kept.is_dir():  # another build was quicker
            return
        beside = Path(tempfile.mkdtemp(prefix=".building-", dir=kept.parent))
        run(["cp", "--archive", f"{root}/opt/builder", f"{beside}/builder"])
        run(["cp", "--archive", f"{root}/{HOME}", f"{beside}/kvorum"])
        beside.rename(kept)


def say(line: str) -> None:
    """Tell what takes a while."""
    print(line, file=sys.stderr, flush=True)


def pip_settings() -> dict[str, str]:
    """The host's way to its package index, as variables; the files that say so are not read in the root."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        name, value = name.rpartition(".")[2], value.strip("'\"")
        words = [word for word in value.replace("\\n", " ").split() if not word.startswith(("file:", "/"))]
        if name in PIP_SETTINGS and words:
            settings["PIP_" + name.upper().replace("-", "_")] = " ".join(words)
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        if value := os.environ.get(name):
            settings[name] = value
    if any(Path(bundle).exists() for bundle in CA_BUNDLES):
        settings |= {"PIP_CERT": "/tmp/ca.crt", "SSL_CERT_FILE": "/tmp/ca.crt"}
    settings["SOURCE_DATE_EPOCH"] = os.environ["SOURCE_DATE_EPOCH"]
    return settings


def tidy(root: Path) -> None:
    """Drop what a node never runs, and what tells where the package was built."""
    home = root / HOME
    for link in (home / "bin").iterdir():
        if not link.name.startswith("python"):
            link.unlink()
    (home / ".gitignore").unlink(missing_ok=True)
    shutil.rmtree(home / "include", ignore_errors=True)
    for cache in [*home.rglob("__pycache__")]:
        shutil.rmtree(cache)
    for packages in home.glob("lib/python3.*/site-packages"):
        for tests in packages.glob("*/tests"):
            shutil.rmtree(tests)
        for info in packages.glob("*.dist-info"):
            for name in ("direct_url.json", "REQUESTED", "RECORD"):
                (info / name).unlink(missing_ok=True)
    # The build id of what is compiled here is a hash that the random name of pip's folder is in.
    strip = ["strip", "--strip-unneeded", "--remove-section=.note.gnu.build-id"]
    modules = sorted(f"/{module.relative_to(root)}" for module in home.rglob("*.so"))
    in_root(root, [*strip, *modules], "The compiled modules can't be stripped")


def add_files(content: Path, version: str) -> None:
    """Units, commands and documentation beside the environment."""
    for source in sorted((HERE / "units").iterdir()):
        put(content / "usr/lib/systemd/system" / source.name, source.read_text())
    put(content / "usr/lib/tmpfiles.d/kvorum.conf", (HERE / "kvorum.tmpfiles").read_text())
    put(
        content / "usr/share/kvorum/corosync.conf.d/kvorum.conf", (HERE / "corosync-drop-in.conf").read_text()
    )
    modules = next((content / HOME).glob("lib/python3.*/site-packages")) / "kvorum"
    table = json.loads((modules / "cli/commands.json").read_text())["commands"]
    put(content / "usr/share/kvorum/completion.bash", (modules / "cli/completion.bash").read_text())
    completions = content / "usr/share/bash-completion/completions"
    completions.mkdir(parents=True)
    for command in sorted({*ALWAYS, *table}):
        call = f"import sys\nfrom kvorum.cli.main import main\nsys.exit(main({command!r}))\n"
        put(content / "usr/sbin" / command, f"#!/{HOME}/bin/python -I\n{call}", 0o755)
        (completions / command).symlink_to(
            "../../kvorum/completion.bash"
        )  # bash-completion looks for the command's name
    lab = f"#!/{HOME}/bin/python -I\nfrom kvorum.lab.main import main\nmain()\n"
    put(content / "usr/bin/kvorum", lab, 0o755)
    put(content / "etc/pam.d/kvorum", (HERE / "kvorum.pam").read_text())
    documents = content / "usr/share/doc/kvorum"
    put(documents / "copyright", (HERE / "debian/copyright").read_text())
    entry = (HERE / "debian/changelog.in").read_text().replace("@VERSION@", version)
    documents.mkdir(parents=True, exist_ok=True)
    (documents / "changelog.gz").write_bytes(gzip.compress(entry.encode(), 9, mtime=epoch()))


def add_control(content: Path, version: str) -> None:
    """The package's description and its maintainer scripts."""
    files = sorted(path for path in content.rglob("*") if path.is_file() and not path.is_symlink())
    configured = [path for path in files if content / "etc" in path.parents]
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    control = (HERE / "debian/control.in").read_text()
    control = control.replace("@VERSION@", version).replace("@SIZE@", str(size_kib))
    put(content / "DEBIAN/control", re.sub(r"^#.*\n", "", control, flags=re.MULTILINE))
    sums = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(content)}\n"
        for path in files
        if path not in configured
    ]
    put(content / "DEBIAN/md5sums", "".join(sums))
    put(content / "DEBIAN/conffiles", "".join(f"/{path.relative_to(content)}\n" for path in configured))
    for script in ("postinst", "prerm", "postrm"):
        put(content / "DEBIAN" / script, (HERE / "debian" / script).read_text(), 0o755)


def date(content: Path) -> None:
    """Give everything the commit's time, also what is older: dependencies are kept between builds."""
    for path in (content, *content.rglob("*")):
        os.utime(path, (epoch(), epoch()), follow_symlinks=False)


def put(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of the package, whatever umask there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def run(command: list[str]) -> None:
    """Run a command of the host; raise ``KvorumError`` with what it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KvorumError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-800:]}")


if __name__ == "__main__":
    sys.exit(main())
