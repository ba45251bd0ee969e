"""A machine's firmware and board as QEMU takes them: SeaBIOS or OVMF, SMBIOS, clock, keyboard.

OVMF is Debian's: its code is read only, its variables are a volume of the guest (``efidisk0``). Code that
enforces Secure Boot guards the variables by System Management Mode, which only q35 has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvorum.guests.config import Disk, GuestConfig
from kvorum.guests.errors import GuestConfigError

OVMF = Path("/usr/share/OVMF")
"""Where Debian's package ovmf puts code and variables."""
WITHOUT_VARIABLES = "/usr/share/ovmf/OVMF.fd"
"""Code and variables in one, for a guest that keeps none."""
VARIABLES_BYTES = 540_672


@dataclass(frozen=True, slots=True)
class Uefi:
    """One variant of OVMF."""

    secure: bool
    """Secure Boot's keys of Microsoft are enrolled, and it is enforced."""

    @classmethod
    def of(cls, disk: Disk) -> Uefi:
        """What an ``efidisk0`` asks for; raises ``GuestConfigError`` for what Debian's package has not."""
        if disk.options.get("efitype", "2m") != "4m":
            raise GuestConfigError(
                "efidisk0: efitype=2m: Debian's OVMF has only the firmware of 4 MiB; "
                "make the disk anew with efitype=4m"
            )
        if disk.options.get("ms-cert", "2011") != "2011":
            raise GuestConfigError(
                f"efidisk0: ms-cert={disk.options['ms-cert']}: Debian's OVMF comes with the keys of 2011"
            )
        return cls(disk.flag("pre-enrolled-keys"))

    @property
    def code(self) -> str:
        """The file of the code."""
        return str(OVMF / ("OVMF_CODE_4M.secboot.fd" if self.secure else "OVMF_CODE_4M.fd"))

    @property
    def variables(self) -> Path:
        """The file that new variables are copied from."""
        return OVMF / ("OVMF_VARS_4M.ms.fd" if self.secure else "OVMF_VARS_4M.fd")


def board(config: GuestConfig, kind: str) -> str:
    """What ``-machine`` takes after the type."""
    text = "" if config.flag("acpi", True) else ",acpi=off"
    if not config.flag("allow-ksm", True):
        text += ",mem-merge=off"
    if config.machine.viommu == "intel" and kind == "kvm":
        text += ",kernel-irqchip=split"
    efidisk = config.disks.get("efidisk0")
    if config.efi and efidisk is not None:
        if Uefi.of(efidisk).secure:
            if not config.machine.is_q35:
                raise GuestConfigError(
                    f"VM {config.vmid}: efidisk0: pre-enrolled-keys=1 needs System Management Mode, "
                    "which only q35 has; set machine to q35"
                )
            text += ",smm=on"
        text += ",pflash0=pflash0,pflash1=drive-efidisk0"
    return text


def uefi(config: GuestConfig, variables: dict[str, object] | None) -> list[str]:
    """OVMF's code and the block node of its variables; nothing for SeaBIOS."""
    if not config.efi:
        return []
    efidisk = config.disks.get("efidisk0")
    if efidisk is None or variables is None:
        return ["-bios", WITHOUT_VARIABLES]
    variant = Uefi.of(efidisk)
    code = {
        "driver": "raw",
        "node-name": "pflash0",
        "read-only": True,
        "file": {"driver": "file", "filename": variant.code, "read-only": True},
    }
    arguments = [word for node in (code, variables) for word in ("-blockdev", compact(node))]
    if variant.secure:
        arguments += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return arguments


def platform(config: GuestConfig, kind: str) -> list[str]:
    """SMBIOS, clock, keyboard, and how it boots."""
    arguments = []
    if fields := config.smbios.fields:
        listed = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in fields.items())
        arguments += ["-smbios", f"type=1,{listed}"]
    guid = config.text("vmgenid")
    if len(guid) > 1:
        arguments += ["-device", f"vmgenid,guid={guid}"]
    arguments += ["-rtc", _clock(config) + (",driftfix=slew" if kind == "kvm" or config.flag("tdf") else "")]
    if kind == "kvm" and not config.machine.is_q35:
        arguments += ["-global", "kvm-pit.lost_tick_policy=discard"]
    for setting in _sleep(config):
        arguments += ["-global", setting]
    if "keyboard" in config.settings:
        arguments += ["-k", config.settings["keyboard"]]
    if not config.flag("reboot", True):
        arguments += ["-no-reboot"]
    arguments += ["-boot", "strict=on"]
    return arguments


def _clock(config: GuestConfig) -> str:
    start = config.text("startdate", "now")
    if start != "now":
        date, _, time = start.partition("T")
        parts = [f"{int(part):02}" for part in date.split("-")]
        clock = ":".join(f"{int(part):02}" for part in (time or "0:0:0").split(":"))
        return f"base={'-'.join(parts)}T{clock}"
    return "base=localtime" if config.flag("localtime", config.windows) else "base=utc"


def _sleep(config: GuestConfig) -> Iterator[str]:
    device = "ICH9-LPC" if config.machine.is_q35 else "PIIX4_PM"
    for state, allowed in config.machine.sleep.items():
        yield f"{device}.disable_{state}={int(not allowed)}"


def compact(node: dict[str, object]) -> str:
    """A block node as the command line takes it."""
    return json.dumps(node, separators=(",", ":"))
