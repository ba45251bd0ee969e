"""A cluster's shape as votes see it, and who has quorum in it (votequorum(5), corosync-qdevice(8)). Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

DEVICE = "Qdevice"
"""The QDevice's name, as Corosync's own tools show it."""


@dataclass(frozen=True, slots=True)
class Voter:
    """A node and its votes."""

    name: str
    votes: int
    present: bool


@dataclass(frozen=True, slots=True)
class Device:
    """The QDevice: ``present`` when this partition has its vote."""

    votes: int
    present: bool
    algorithm: str = "ffsplit"
    host: str = ""
    guest_on: str = ""
    """The node on which it runs as a guest of this cluster, where that is so."""


@dataclass(frozen=True, slots=True)
class Rules:
    """votequorum's options, by its names."""

    two_node: bool = False
    wait_for_all: bool = False
    last_man_standing: bool = False
    auto_tie_breaker: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """All that decides on quorum. ``nodes`` stand in the order of their ids."""

    nodes: tuple[Voter, ...]
    device: Device | None = None
    rules: Rules = Rules()
    expected: int | None = None
    """What Corosync expects in all, where it is not the sum (``pvecm expected``, last_man_standing)."""
    links: int = 0
    """How many links join the nodes; 0 when it is not known."""
    ha: bool = False
    """Whether HA looks after guests."""

    @property
    def total(self) -> int:
        """All votes there are, as Corosync expects them."""
        if self.expected is not None:
            return self.expected
        return sum(node.votes for node in self.nodes) + (self.device.votes if self.device else 0)

    @property
    def needed(self) -> int:
        """The votes that make a quorum: more than half, and one with two_node."""
        return 1 if self.rules.two_node else self.total // 2 + 1

    @property
    def here(self) -> frozenset[str]:
        """The names of the nodes that are here."""
        return frozenset(node.name for node in self.nodes if node.present)

    @property
    def device_here(self) -> bool:
        """Whether the QDevice's vote is here."""
        return self.device is not None and self.device.present

    @property
    def present_votes(self) -> int:
        """The votes that are here, the QDevice's among them."""
        return votes(self, self.here, device=self.device_here)


def votes(shape: Shape, nodes: Set[str], *, device: bool) -> int:
    """The votes of these nodes, with the QDevice's if ``device``."""
    own = sum(node.votes for node in shape.nodes if node.name in nodes)
    return own + (shape.device.votes if device and shape.device else 0)


def holds(shape: Shape, nodes: Set[str], *, device: bool) -> bool:
    """Whether these nodes alone have quorum while the QDevice can be reached (or not), once all has settled.

    What Corosync remembers beyond the votes (wait_for_all after a start) is not in it.
    """
    if not nodes:
        return False
    gathered = votes(shape, nodes, device=device and _grants(shape, nodes))
    if gathered >= shape.needed:
        return True
    lowest = shape.nodes[0].name in nodes
    return shape.rules.auto_tie_breaker and shape.total > 0 and 2 * gathered == shape.total and lowest


def goes_on(shape: Shape, sides: Sequence[Set[str]], reach_device: Collection[int]) -> tuple[bool, ...]:
    """Which of several partitions have quorum; ``reach_device`` has the indexes of who reaches the QDevice.

    The QDevice gives its vote to one partition: the one of most nodes, of two alike that of the lowest id.
    """
    order = {node.name: number for number, node in enumerate(shape.nodes)}
    asking = [index for index in reach_device if sides[index] and _grants(shape, sides[index])]
    chosen = min(asking, key=lambda i: (-len(sides[i]), min(order[n] for n in sides[i])), default=None)
    return tuple(holds(shape, side, device=index == chosen) for index, side in enumerate(sides))


def _grants(shape: Shape, nodes: Set[str]) -> bool:
    """Whether the QDevice gives its vote to these nodes when no other asks.

    ffsplit: to half of the nodes or more; lms: to whoever is left.
    """
    if shape.device is None or not nodes:
        return False
    return shape.device.algorithm != "ffsplit" or 2 * len(nodes) >= len(shape.nodes)
