"""A guest's memory and its NUMA nodes, as QEMU takes them.

With ``hotplug: memory`` the first 1024 MiB are the board's, and the rest are DIMMs of fixed sizes, the same
for the same amount whatever was plugged when: a migration's target builds them from the amount alone. There
are 32 of each size, from 512 MiB on, each size twice the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvorum.guests.config import GuestConfig
from kvorum.guests.config.hardware import NumaNode
from kvorum.guests.errors import GuestConfigError

STATIC_MIB = 1024
_FIRST_MIB, _EACH, _SIZES = 512, 32, 5
SLOTS = _EACH * _SIZES
"""All of them, with room to align each, stay below the 1 TiB that CPUs with 40 bits of address see."""
_MOST_MIB = STATIC_MIB + sum(_EACH * (_FIRST_MIB << size) for size in range(_SIZES))


@dataclass(frozen=True, slots=True)
class Dimm:
    """One module of memory that can be plugged."""

    number: int
    mib: int

    @property
    def name(self) -> str:
        """The device; its memory is ``mem-`` and this."""
        return f"dimm{self.number}"


def dimms(config: GuestConfig) -> tuple[Dimm, ...]:
    """The modules beyond the board's memory, none without ``hotplug: memory``.

    Raises ``GuestConfigError`` for an amount that they can't make.
    """
    if "memory" not in config.hotplug:
        return ()
    found: list[Dimm] = []
    left = max(0, config.memory_mib - STATIC_MIB)
    while left > 0 and len(found) < SLOTS:
        found.append(Dimm(len(found), _FIRST_MIB << (len(found) // _EACH)))
        left -= found[-1].mib
    if left:
        possible = config.memory_mib - left if left < 0 else _MOST_MIB
        raise GuestConfigError(
            f"VM {config.vmid}: memory: {config.memory_mib} MiB can't be made of modules of "
            f"{_FIRST_MIB} MiB and more beyond {STATIC_MIB} MiB, which hotplug asks for; {possible} MiB can"
        )
    return tuple(found)


def memory(config: GuestConfig) -> list[str]:
    """Size, NUMA nodes and modules."""
    modules = dimms(config)
    base = config.memory_mib - sum(dimm.mib for dimm in modules)
    room = f",slots={SLOTS},maxmem={_MOST_MIB}M" if "memory" in config.hotplug else ""
    arguments = ["-m", f"size={base}M{room}"]
    for key, node in _nodes(config, base).items():
        arguments += ["-object", _backend(f"ram-{key}", node), "-numa", _numa(key, node)]
    for dimm in modules:
        arguments += ["-object", f"memory-backend-ram,id=mem-{dimm.name},size={dimm.mib}M"]
        arguments += ["-device", f"pc-dimm,id={dimm.name},memdev=mem-{dimm.name},node=0"]
    return arguments


def _nodes(config: GuestConfig, base_mib: int) -> Mapping[str, NumaNode]:
    """Those of the configuration, or with ``numa`` alone one for each socket."""
    if not config.flag("numa"):
        return {}
    written = config.numa_nodes
    if not written:
        share, rest = divmod(base_mib, config.sockets)
        return {
            f"numa{number}": NumaNode(
                frozenset(range(number * config.cores, (number + 1) * config.cores)),
                share + (rest if number == 0 else 0),
                frozenset(),
                "preferred",
            )
            for number in range(config.sockets)
        }
    total = sum(node.memory_mib for node in written.values())
    if total != base_mib:
        raise GuestConfigError(
            f"VM {config.vmid}: the NUMA nodes have {total} MiB together, the guest {base_mib} MiB; "
            "make both the same"
        )
    cpus = [cpu for node in written.values() for cpu in node.cpus]
    if sorted(cpus) != list(range(config.cores * config.sockets)):
        raise GuestConfigError(
            f"VM {config.vmid}: each of the CPUs 0 to {config.cores * config.sockets - 1} must be in one of "
            "the NUMA nodes, and no other"
        )
    return written


def _backend(name: str, node: NumaNode) -> str:
    text = f"memory-backend-ram,id={name},size={node.memory_mib}M"
    if node.host_nodes:
        hosts = "".join(f",host-nodes.{i}={host}" for i, host in enumerate(sorted(node.host_nodes)))
        text += f"{hosts},policy={node.policy}"
    return text


def _numa(key: str, node: NumaNode) -> str:
    cpus = "".join(f",cpus={first}-{last}" for first, last in _runs(sorted(node.cpus)))
    return f"node,nodeid={key.removeprefix('numa')}{cpus},memdev=ram-{key}"


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of numbers that follow each other, first and last."""
    for index, number in enumerate(numbers):
        if index == 0 or numbers[index - 1] != number - 1:
            first = number
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            yield first, number
