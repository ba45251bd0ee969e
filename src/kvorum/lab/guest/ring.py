"""What the test guest leaves on its disks: its numbers, one a sector, in a ring. Pure.

The guest flushes each number before it reports it (``flushed`` in its HTTP answer), and goes on from the
highest one after a reboot. So a lost acknowledged write shows as a highest number below the reported one, a
lost write in between as a gap, and a write that went astray as a number in the wrong sector.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SECTOR_BYTES = 512
RING_BYTES = 8 << 20
OWN_RING_OFFSET_BYTES = 33 << 20
"""Where the ring begins on the guest's own disk: the second partition."""
OTHER_RING_OFFSET_BYTES = 1 << 20
"""Where it begins on any further disk."""

_RECORD = re.compile(rb"pulse (\d+) boot (\d+)\n\0")


@dataclass(frozen=True, slots=True)
class Sequence:
    """The numbers found in a ring."""

    first: int
    last: int
    boots: int
    """The number of the latest boot that wrote here."""
    missing: tuple[int, ...]
    """Numbers between first and last that are not there: lost writes."""
    astray: tuple[int, ...]
    """Numbers that stand in a sector that is not theirs."""


def read_sequence(ring: bytes) -> Sequence | None:
    """The numbers in the bytes of a whole ring; nothing if there are none."""
    sectors = len(ring) // SECTOR_BYTES
    numbers: set[int] = set()
    astray: list[int] = []
    boots = 0
    for index in range(sectors):
        match = _RECORD.match(ring, index * SECTOR_BYTES)
        if match is None:
            continue
        number = int(match[1])
        boots = max(boots, int(match[2]))
        if number % sectors == index:
            numbers.add(number)
        else:
            astray.append(number)
    if not numbers:
        return None
    first, last = min(numbers), max(numbers)
    first = max(first, last - sectors + 1)
    missing = tuple(n for n in range(first, last + 1) if n not in numbers)
    return Sequence(first, last, boots, missing, tuple(sorted(astray)))


def address_of(mac: str) -> str:
    """The address the guest gives a NIC: 198.19.A.B for a MAC whose last two bytes are A and B.

    Raises ``ValueError`` when it would be the network's own or its broadcast address.
    """
    *_, high, low = (int(part, 16) for part in mac.split(":"))
    if (high, low) in ((0, 0), (255, 255)):
        raise ValueError(f"MAC {mac} would give the guest no usable address: choose other last bytes")
    return f"198.19.{high}.{low}"
