"""CPU models and machine types as wizards list them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_INTEL, _AMD, _ANY = "GenuineIntel", "AuthenticAMD", "default"
_MODELS = {
    _ANY: "host max kvm32 kvm64 qemu32 qemu64 x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4",
    _INTEL: (
        "486 pentium pentium2 pentium3 coreduo core2duo Conroe Penryn Nehalem Westmere SandyBridge IvyBridge "
        "Haswell Broadwell Skylake-Client Skylake-Server Cascadelake-Server Cooperlake Icelake-Server "
        "SapphireRapids GraniteRapids SierraForest KnightsMill"
    ),
    _AMD: (
        "athlon phenom Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 EPYC EPYC-Rome EPYC-Milan "
        "EPYC-Genoa"
    ),
}
CPU_MODELS = {name: vendor for vendor, names in _MODELS.items() for name in names.split()}
"""Models that QEMU's manual names ("Recommendations for KVM CPU model configuration"), with their vendor."""

_MACHINE = re.compile(r"pc-(?P<type>q35|i440fx)-(?P<version>\d+(?:\.\d+)+)")


def machine_rows(types: Iterable[str]) -> list[dict[str, object]]:
    """The versioned machine types, the newest first."""
    found = [match for name in types if (match := _MACHINE.fullmatch(name))]
    found.sort(key=lambda match: tuple(map(int, match["version"].split("."))), reverse=True)
    return [{"id": match[0], "type": match["type"], "version": match["version"]} for match in found]
