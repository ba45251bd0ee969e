"""Whether KVM really runs a guest here: a tiny guest tells, not the presence of /dev/kvm.

There are machines whose /dev/kvm opens but never gets past 16-bit code (nested ones). The probe is a firmware
of 64 KiB: from the reset vector through protected mode into 64-bit mode, where a 64-bit shift makes the value
that it writes to QEMU's isa-debug-exit port. The answer is kept until the next boot or another QEMU.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import tempfile
from pathlib import Path

import msgspec

DEADLINE_S = 3.0
_EXIT_PORT = 0x501
_PROBE_VALUE = 0x2A
_PROBE_STATUS = _PROBE_VALUE << 1 | 1  # QEMU, hw/misc/debugexit.c
_SIZE = 0x10000
_ALIAS = 0xF0000  # the firmware is seen here too, below 1 MiB


class Accelerator(msgspec.Struct, frozen=True):
    """What runs guests here, and why not KVM."""

    name: str
    reason: str = ""


class _Cached(msgspec.Struct, frozen=True):
    boot: str
    binary: str
    result: Accelerator


async def find(binary: str, cache: Path) -> Accelerator:
    """``kvm`` where the probe passes, else ``tcg`` with the reason; asked once a boot and QEMU."""
    boot, version = await asyncio.to_thread(_boot_and_binary, binary)
    try:
        known = msgspec.json.decode(await asyncio.to_thread(cache.read_bytes), type=_Cached)
        if (known.boot, known.binary) == (boot, version):
            return known.result
    except (OSError, msgspec.MsgspecError):
        pass
    result = await probe(binary)
    data = msgspec.json.encode(_Cached(boot, version, result))
    await asyncio.to_thread(_keep, cache, data)
    return result


async def probe(binary: str, accelerator: str = "kvm", deadline_s: float = DEADLINE_S) -> Accelerator:
    """Run the tiny guest under an accelerator (``tcg`` too, for tests)."""
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "this machine has no /dev/kvm, or we may not open it")
    with tempfile.NamedTemporaryFile(prefix="kvorum-probe-") as file:
        file.write(firmware())
        file.flush()
        try:
            process = await asyncio.create_subprocess_exec(
                *(binary, "-machine", "pc", "-accel", accelerator, "-m", "16", "-nodefaults"),
                *("-no-user-config", "-display", "none", "-no-reboot", "-bios", file.name),
                *("-device", f"isa-debug-exit,iobase={hex(_EXIT_PORT)},iosize=1"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            return Accelerator("tcg", f"'{binary}' can't be run: {error.strerror}")
        try:
            _, errors = await asyncio.wait_for(process.communicate(), deadline_s)
        except TimeoutError:
            return Accelerator("tcg", f"KVM did not bring a guest into 64-bit mode within {deadline_s:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.wait_for(process.communicate(), 10.0)
    if process.returncode == _PROBE_STATUS:
        return Accelerator(accelerator)
    lines = errors.decode(errors="replace").strip().splitlines()
    return Accelerator("tcg", f"KVM does not work: {lines[-1] if lines else f'status {process.returncode}'}")


def firmware() -> bytes:
    """The probe's 64 KiB. Addresses are relative to its alias at 0xF0000 (Intel SDM vol. 3, 10.8.5)."""
    code16_at, gdt_at, gdtr_at, code32_at, code64_at = 0x0, 0x40, 0x60, 0x80, 0x100
    gdt = struct.pack("<4Q", 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF, 0x00AF9A000000FFFF)
    code16 = b"".join((
        b"\xfa",  # cli
        b"\x66\x2e\x0f\x01\x16" + struct.pack("<H", gdtr_at),  # lgdt cs:[gdtr]
        b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0",  # cr0 |= PE
        b"\x66\xea" + struct.pack("<IH", _ALIAS + code32_at, 0x08),  # jump to 32-bit code
    ))  # fmt: skip
    code32 = b"".join((
        b"\x66\xb8\x10\x00\x8e\xd8\x8e\xc0",  # ds = es = flat data
        b"\xbf\x00\x10\x00\x00\x31\xc0\xb9\x00\x0c\x00\x00\xfc\xf3\xab",  # clear 0x1000 to 0x3fff
        b"\xc7\x05" + struct.pack("<II", 0x1000, 0x2003),  # page tables: the first 2 MiB, one to one
        b"\xc7\x05" + struct.pack("<II", 0x2000, 0x3003),
        b"\xc7\x05" + struct.pack("<II", 0x3000, 0x0083),
        b"\x0f\x20\xe0\x83\xc8\x20\x0f\x22\xe0",  # cr4 |= PAE
        b"\xb8\x00\x10\x00\x00\x0f\x22\xd8",  # cr3 = 0x1000
        b"\xb9\x80\x00\x00\xc0\x0f\x32\x0d\x00\x01\x00\x00\x0f\x30",  # EFER |= LME
        b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0",  # cr0 |= PG
        b"\xea" + struct.pack("<IH", _ALIAS + code64_at, 0x18),  # jump to 64-bit code
    ))  # fmt: skip
    code64 = b"".join((
        b"\x48\xb8" + struct.pack("<Q", _PROBE_VALUE << 56 | 1),  # mov rax, value << 56 | 1
        b"\x48\xc1\xe8\x38",  # shr rax, 56
        b"\x66\xba" + struct.pack("<H", _EXIT_PORT) + b"\xee",  # out dx, al
        b"\xf4\xeb\xfd",  # hlt, for ever
    ))  # fmt: skip
    image = bytearray(b"\xf4" * _SIZE)
    gdtr = struct.pack("<HI", len(gdt) - 1, _ALIAS + gdt_at)
    parts = {code16_at: code16, gdt_at: gdt, gdtr_at: gdtr, code32_at: code32, code64_at: code64}
    for at, part in parts.items():
        image[at : at + len(part)] = part
    image[0xFFF0:0xFFF3] = b"\xe9\x0d\x00"  # the reset vector: jump to offset 0
    return bytes(image)


def this_boot() -> str:
    """The kernel's name for the time since it booted. Blocks."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _boot_and_binary(binary: str) -> tuple[str, str]:
    """This boot, and which QEMU: what a probe's result holds for."""
    boot = this_boot()
    found = shutil.which(binary)  # skips folders that this user may not look into
    if found is None:
        return boot, binary
    stat = Path(found).stat()
    return boot, f"{found}:{stat.st_size}:{stat.st_mtime_ns}"


def _keep(cache: Path, data: bytes) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    draft = cache.with_name(cache.name + ".new")
    draft.write_bytes(data)
    draft.replace(cache)
