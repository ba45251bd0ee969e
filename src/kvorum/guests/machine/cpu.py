"""CPU types as users name them, in QEMU's words.

The levels ``x86-64-v2`` to ``v4`` are those of the x86-64 psABI; QEMU has no models of these names, so they
are spelled as ``qemu64`` plus the level's features.
"""

from __future__ import annotations

from kvorum.guests.config import Cpu, GuestConfig

_V2 = ("+cx16", "+lahf-lm", "+popcnt", "+pni", "+sse4.1", "+sse4.2", "+ssse3")
_V3 = ("+aes", "+avx", "+avx2", "+bmi1", "+bmi2", "+f16c", "+fma", "+abm", "+movbe", "+xsave")
_V4 = ("+avx512f", "+avx512bw", "+avx512cd", "+avx512dq", "+avx512vl")
_LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64-v2": _V2,
    "x86-64-v2-AES": (*_V2, "+aes"),
    "x86-64-v3": (*_V2, *_V3),
    "x86-64-v4": (*_V2, *_V3, *_V4),
}
_HYPER_V = (
    "hv-relaxed", "hv-vapic", "hv-spinlocks=0x1fff", "hv-time", "hv-vpindex", "hv-runtime", "hv-synic",
    "hv-stimer", "hv-tlbflush", "hv-ipi", "hv-frequencies",
)  # fmt: skip
"""What QEMU's manual ("Hyper-V Enlightenments") recommends for Windows; KVM alone can do it."""
_WINDOWS = frozenset({"w2k8", "wvista", "win7", "win8", "win10", "win11"})
"""Those that know Hyper-V."""


def cpu_argument(config: GuestConfig, accelerator: str) -> str:
    """The value of ``-cpu``. Without KVM ``host`` means ``max``, the most that TCG can do."""
    cpu = config.cpu
    model, features = cpu.type, _LEVELS.get(cpu.type, ())
    if cpu.type in _LEVELS:
        model = "qemu64"
    elif cpu.type == "host" and accelerator != "kvm":
        model = "max"
    features += cpu.flags
    if cpu.options.get("hidden") == "1" and accelerator == "kvm":
        features += ("kvm=off",)
    if accelerator == "kvm" and config.text("ostype") in _WINDOWS:
        vendor = cpu.options.get("hv-vendor-id")
        features += (*_HYPER_V, *((f"hv-vendor-id={vendor}",) if vendor else ()))
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
