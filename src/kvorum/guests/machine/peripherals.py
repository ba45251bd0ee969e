"""Devices beside disks and network cards, as ``-device`` takes them: each at an address of its own on pci.0.

So one that comes or goes moves no other, and guests without them have the machine that they had before.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestConfigError
from kvorum.guests.machine import spice

WATCHDOG, RNG, AUDIO, VIOMMU = "0x4", "0x10", "0x11", "0x9"
"""Addresses on pci.0 (on pcie.0 for the IOMMU)."""
TPM = "tpm"
"""The socket to the guest's swtpm."""
TPM_BYTES = 4 << 20


def iommu(config: GuestConfig, kind: str) -> list[str]:
    """The guest's IOMMU; it stands before every device that it is to see."""
    machine = config.machine
    bits = f",aw-bits={machine.aw_bits}" if machine.aw_bits else ""
    match machine.viommu:
        case "intel":
            remap = ",intremap=on,caching-mode=on" if kind == "kvm" else ""
            return ["-device", f"intel-iommu{remap}{bits}"]
        case "virtio":
            return ["-device", f"virtio-iommu-pci,bus=pcie.0,addr={VIOMMU}{bits}"]
    return []


def peripherals(config: GuestConfig, tpm_fd: int | None) -> list[str]:
    """All of them."""
    return [*_watchdog(config), *_rng(config), *_audio(config), *_tpm(config, tpm_fd), *_agents(config)]


def _watchdog(config: GuestConfig) -> Iterator[str]:
    if watchdog := config.watchdog:
        where = f",bus=pci.0,addr={WATCHDOG}" if watchdog.model == "i6300esb" else ""
        yield from ("-device", f"{watchdog.model},id=watchdog{where}")
        yield from ("-action", f"watchdog={watchdog.action}")


def _rng(config: GuestConfig) -> Iterator[str]:
    if (rng := config.rng) is None:
        return
    if rng.source == "/dev/hwrng":
        raise GuestConfigError(
            f"VM {config.vmid}: rng0: /dev/hwrng is root's, and QEMU is not root; use /dev/urandom, "
            "which the host's kernel feeds from it"
        )
    limit = f",max-bytes={rng.max_bytes},period={rng.period_ms}" if rng.max_bytes else ""
    yield from ("-object", f"rng-random,id=rng0-source,filename={rng.source}")
    yield from ("-device", f"virtio-rng-pci,id=rng0,rng=rng0-source,bus=pci.0,addr={RNG}{limit}")


def _audio(config: GuestConfig) -> Iterator[str]:
    if (audio := config.audio) is None:
        return
    yield from ("-audiodev", f"{audio.driver},id=audio0-backend")
    where = f"id=audio0,bus=pci.0,addr={AUDIO}"
    if audio.device == "AC97":
        yield from ("-device", f"AC97,{where},audiodev=audio0-backend")
        return
    yield from ("-device", f"{audio.device},{where}")
    for number, codec in enumerate(("hda-micro", "hda-duplex")):
        yield from (
            "-device",
            f"{codec},id=audio0-codec{number},bus=audio0.0,cad={number},audiodev=audio0-backend",
        )


def _tpm(config: GuestConfig, fd: int | None) -> Iterator[str]:
    if "tpmstate0" not in config.disks or fd is None:
        return
    yield from ("-chardev", f"socket,id={TPM},fd={fd}")
    yield from ("-tpmdev", f"emulator,id=tpmdev,chardev={TPM}")
    yield from ("-device", "tpm-tis,tpmdev=tpmdev")


def _agents(config: GuestConfig) -> Iterator[str]:
    """The ports of the guest's agents for clipboard, screens and folders, by VNC's clients or SPICE's."""
    if not (config.vga.clipboard or spice.wanted(config)):
        return
    if not (config.agent.enabled and config.agent.type == "virtio"):
        yield from ("-device", "virtio-serial-pci,id=vserial0,bus=pci.0,addr=0x8")
    if config.vga.clipboard:
        yield from ("-chardev", "qemu-vdagent,id=vdagent,name=vdagent,clipboard=on")
        yield from ("-device", "virtserialport,bus=vserial0.0,chardev=vdagent,name=com.redhat.spice.0")
    yield from spice.channels(config)
