"""CPU types as users name them, in QEMU's words.

The levels ``x86-64-v2`` to ``v4`` are those of the x86-64 psABI; QEMU has no models of these names, so they
are spelled as ``qemu64`` plus the level's features.
"""

from __future__ import annotations

from kvorum.guests.config import Cpu

_V2 = ("+cx16", "+lahf-lm", "+popcnt", "+pni", "+sse4.1", "+sse4.2", "+ssse3")
_V3 = ("+aes", "+avx", "+avx2", "+bmi1", "+bmi2", "+f16c", "+fma", "+abm", "+movbe", "+xsave")
_V4 = ("+avx512f", "+avx512bw", "+avx512cd", "+avx512dq", "+avx512vl")
_LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64-v2": _V2,
    "x86-64-v2-AES": (*_V2, "+aes"),
    "x86-64-v3": (*_V2, *_V3),
    "x86-64-v4": (*_V2, *_V3, *_V4),
}


def cpu_argument(cpu: Cpu, accelerator: str) -> str:
    """The value of ``-cpu``. Without KVM ``host`` means ``max``, the most that TCG can do."""
    model, features = cpu.type, _LEVELS.get(cpu.type, ())
    if cpu.type in _LEVELS:
        model = "qemu64"
    elif cpu.type == "host" and accelerator != "kvm":
        model = "max"
    features += cpu.flags
    if cpu.options.get("hidden") == "1" and accelerator == "kvm":
        features += ("kvm=off",)
    features += _widths(cpu)
    if accelerator == "kvm" and cpu.type not in ("host", "max"):
        features += ("enforce",)
    return ",".join((model, *features))


def _widths(cpu: Cpu) -> tuple[str, ...]:
    """How wide addresses are, and which level of CPUID the CPU tells."""
    found = []
    if bits := cpu.options.get("phys-bits"):
        found.append("host-phys-bits=on" if bits == "host" else f"phys-bits={bits}")
    found += [f"{key}={cpu.options[key]}" for key in ("guest-phys-bits", "level") if key in cpu.options]
    return tuple(found)
