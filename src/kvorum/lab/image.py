"""The test guest's disk image: ``kvorum lab image [--output F]``.

    path = build(None)          # from the cache, or made (a minute, network)

The image boots from its disk under SeaBIOS and does what ``guest/pulse.c`` says. It is made of Debian's cloud
kernel, busybox-static and qemu-guest-agent, and kept by the content of all that goes into it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kvorum.lab.cache import place
from kvorum.lab.guest import disk, initramfs
from kvorum.lab.guest.packages import Apt, FetchFailed, run
from kvorum.lab.guest.tools import TIMEOUT_S, Tools

KEPT = 4
"""How many images stay in the cache."""
LAYOUT = 1
"""Grows when this module makes another image of the same ingredients."""
GUEST_FILES = Path(__file__).with_name("guest")
INGREDIENTS = ("init", "shutdown", "syslinux.cfg", "pulse.c")
PACKAGES = (
    "linux-image-cloud-amd64",
    "qemu-guest-agent",
    "busybox-static",
    "syslinux",
    "syslinux-common",
    "mtools",
)
UNUSED = (
    "systemd",
    "udev",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    "debconf",
    "openssl",
    "libssl",
    "perl",
)
"""What the closure has only for a real installation; not unpacked."""
MODULES = (
    "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix", "ahci",
    "virtio_net", "virtio_rng", "virtio_balloon", "evdev", "button",
)  # fmt: skip
COMPILE_TIMEOUT_S = 120.0

Say = Callable[[str], None]


class ImageFailed(Exception):
    """The image could not be made; the sentence says why and what to do."""


def build(output: Path | None = None, *, refresh: bool = False, say: Say = lambda text: None) -> Path:
    """The image's path: from the cache, or made now. ``output`` gets a copy and is returned instead.

    What the Debian archive has newer is looked for with ``refresh`` or when there is no image yet. Safe to
    call from several processes at once. Raises ``ImageFailed``.
    """
    try:
        images = _images()
        images.mkdir(parents=True, exist_ok=True)
        with _alone(images / ".lock"):
            image = None if refresh else _newest()
            if image is None:
                image = _make_current(say)
    except (FetchFailed, OSError) as error:
        raise ImageFailed(f"the guest image can't be made: {error}") from error
    if output is None:
        return image
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, output)
    return output


def _images() -> Path:
    """Where images are kept."""
    return place() / "images"


def _newest() -> Path | None:
    """The image made last from today's ingredients, if any."""
    fitting = sorted(_images().glob(f"guest-{_own_key()}-*.qcow2"), key=lambda p: p.stat().st_mtime)
    return fitting[-1] if fitting else None


def _own_key() -> str:
    """A hash of what this repository puts into the image."""
    digest = hashlib.sha256(json.dumps([LAYOUT, PACKAGES, UNUSED, MODULES]).encode())
    for name in INGREDIENTS:
        digest.update((GUEST_FILES / name).read_bytes())
    for module in ("disk.py", "initramfs.py", "ring.py", "tools.py"):
        digest.update((GUEST_FILES / module).read_bytes())
    return digest.hexdigest()[:12]


def _make_current(say: Say) -> Path:
    """Make the image of the archive's present packages, unless it is there already."""
    images = _images()
    apt = Apt(images / "apt")
    say("asking the Debian archive for packages")
    apt.update()
    packages = [p for p in apt.closure(PACKAGES) if not p.startswith(UNUSED)]
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    image = images / f"guest-{_own_key()}-{key}.qcow2"
    if not image.exists():
        with tempfile.TemporaryDirectory(dir=images, prefix=".making-") as scratch:
            made = _make(apt, packages, Path(scratch), say)
            made.replace(image)
        for old in sorted(images.glob("guest-*.qcow2"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
            old.unlink()
    return image


def _make(apt: Apt, packages: Sequence[str], scratch: Path, say: Say) -> Path:
    """Make the image in ``scratch``: unpack, compile, pack, write."""
    root = scratch / "root"
    say(f"unpacking {len(packages)} packages")
    apt.unpack(packages, root)
    say("compiling pulse")
    pulse = scratch / "pulse"
    compiler = ["gcc", "-static", "-O2", "-Wall", "-o", str(pulse), str(GUEST_FILES / "pulse.c")]
    run(compiler, COMPILE_TIMEOUT_S)
    tools = Tools(root, scratch)
    say("packing the root file system")
    initrd = scratch / "initrd"
    initrd.write_bytes(initramfs.archive(contents(root, pulse.read_bytes(), tools)))
    kernel = next((root / "boot").glob("vmlinuz-*"))
    files = {"vmlinuz": kernel, "initrd": initrd}
    shutil.copyfile(GUEST_FILES / "syslinux.cfg", scratch / "syslinux.cfg")
    files["syslinux.cfg"] = scratch / "syslinux.cfg"
    files["startup.nsh"] = scratch / "startup.nsh"
    files["startup.nsh"].write_text(disk.uefi_script(files["syslinux.cfg"].read_text()), newline="")
    say("writing the disk")
    disk.make(scratch / "disk.raw", root, tools, files)
    made = scratch / "guest.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(scratch / "disk.raw"), str(made)]
    run(convert, TIMEOUT_S)
    return made


def contents(root: Path, pulse: bytes, tools: Tools) -> dict[str, initramfs.Entry]:
    """Everything in the guest's root file system, taken from the unpacked packages."""
    busybox = (root / "usr/bin/busybox").read_bytes()
    entries = {
        "init": initramfs.file((GUEST_FILES / "init").read_bytes(), executable=True),
        "bin/busybox": initramfs.file(busybox, executable=True),
        "bin/pulse": initramfs.file(pulse, executable=True),
        "sbin/shutdown": initramfs.file((GUEST_FILES / "shutdown").read_bytes(), executable=True),
    }
    for applet in run([str(root / "usr/bin/busybox"), "--list"], TIMEOUT_S).split():
        entries.setdefault(f"bin/{applet}", initramfs.link("busybox"))
    for path in tools.libraries("usr/sbin/qemu-ga"):
        entries[path] = initramfs.file((root / path).read_bytes(), executable=True)
    for directory in ("proc", "sys", "dev", "run", "tmp", "var"):
        entries[directory] = initramfs.Entry(0o40755)
    entries["dev/console"] = initramfs.Entry(0o20600, device=(5, 1))
    tree = next((root / "usr/lib/modules").iterdir())
    for driver in MODULES:
        files = initramfs.modules(tree, [driver])
        entries |= {f"modules/{name}": initramfs.file(content) for name, content in files.items()}
        entries[f"modules/{driver}.order"] = initramfs.file("".join(f"{name}\n" for name in files).encode())
    return entries


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file; waits for whoever makes the image already."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(argv: Sequence[str]) -> int:
    """``kvorum lab image``: make the image if need be and print its path."""
    parser = argparse.ArgumentParser(prog="kvorum lab image", description="Make the test guest's disk image.")
    parser.add_argument("--output", type=Path, help="also copy it here")
    parser.add_argument("--refresh", action="store_true", help="look for newer Debian packages")
    options = parser.parse_args(argv)
    try:
        print(build(options.output, refresh=options.refresh, say=lambda text: print(text, file=sys.stderr)))
    except ImageFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
