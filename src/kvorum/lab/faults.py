"""The faults of the lab's networks: their notation, and the packet filter that makes them. Pure.

The switch of the lab is three Linux bridges; a fault is a rule in the ``forward`` hook of nftables' bridge
family there (nft(8)), so it holds for ARP, for broadcasts and for guests too. What goes between the lab
itself and a machine (the page, ``exec``) is not forwarded and never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kvorum.lab.plan import LINKS, NETWORKS, Machine


@dataclass(frozen=True, slots=True)
class Partition:
    """Nothing passes from a machine of ``sources`` to one of ``targets`` on ``networks``."""

    sources: frozenset[str]
    targets: frozenset[str]
    networks: tuple[int, ...] = NETWORKS


@dataclass(frozen=True, slots=True)
class Loss:
    """Of all frames between machines, ``percent`` (0 to 100) are lost on ``networks``."""

    percent: float
    networks: tuple[int, ...] = NETWORKS


@dataclass(frozen=True, slots=True)
class Faults:
    """All faults in force: partitions add up, the last loss replaces those before."""

    partitions: tuple[Partition, ...] = ()
    loss: Loss | None = field(default=None)

    def and_partitions(self, more: Sequence[Partition]) -> Faults:
        """These faults and ``more`` partitions."""
        fresh = tuple(p for p in more if p not in self.partitions)
        return Faults(self.partitions + fresh, self.loss)

    def with_loss(self, loss: Loss) -> Faults:
        """These faults with another loss; none for 0 percent."""
        return Faults(self.partitions, loss if loss.percent else None)

    def sentences(self) -> list[str]:
        """Each fault as a sentence, for ``status``."""
        told = []
        for partition in self.partitions:
            sources, targets = (",".join(sorted(s)) for s in (partition.sources, partition.targets))
            told.append(f"nothing passes from {sources} to {targets}{_on(partition.networks)}")
        if self.loss:
            told.append(f"{self.loss.percent:g} % of all frames are lost{_on(self.loss.networks)}")
        return told


def parse_partition(text: str, machines: Iterable[str], link: int | None = None) -> list[Partition]:
    """Read ``A,B|C`` (nothing passes between the sides; more than two may stand) or ``A>B`` (one way).

    ``link`` limits it to Corosync's link 0 or 1; without it the guests' network is cut too.
    Raises ``ValueError`` with a sentence for anything else.
    """
    networks = _networks(link)
    known = frozenset(machines)
    one_way = ">" in text
    if one_way == ("|" in text):
        raise ValueError(f"'{text}' is not a partition: write 'n1,n2|n3', or 'n1>n2' for one way only")
    sides = [_side(part, text, known) for part in re.split(r"[|>]", text)]
    if one_way and len(sides) != 2:
        raise ValueError(f"'{text}' is not a partition: one '>' at most, as in 'n1>n2'")
    seen: set[str] = set()
    for side in sides:
        if twice := sorted(seen & side):
            raise ValueError(f"'{text}' is not a partition: {twice[0]} stands on both sides")
        seen |= side
    if one_way:
        return [Partition(sides[0], sides[1], networks)]
    return [Partition(a, b, networks) for a in sides for b in sides if a != b]


def parse_loss(percent: float, link: int | None = None) -> Loss:
    """A loss of ``percent``, 0 to 100; raises ``ValueError`` for anything else."""
    if not 0 <= percent <= 100:
        raise ValueError(f"a loss of {percent:g} percent can't be made: use 0 to 100")
    return Loss(percent, _networks(link))


def ruleset(faults: Faults, machines: Sequence[Machine]) -> str:
    """The nftables script that replaces all faults by ``faults`` in one step (nft -f)."""
    by_name = {machine.name: machine for machine in machines}
    lines = ["table bridge faults", "delete table bridge faults", "table bridge faults {", "  chain cut {"]
    lines.append("    type filter hook forward priority 0; policy accept;")
    for partition in faults.partitions:
        for network in partition.networks:
            sources = _ports(partition.sources, by_name, network)
            targets = _ports(partition.targets, by_name, network)
            if sources and targets:
                lines.append(f"    iifname {{ {sources} }} oifname {{ {targets} }} drop")
    if faults.loss:
        ports = ", ".join(f'"{m.port(n)}"' for m in machines for n in m.networks if n in faults.loss.networks)
        share = round(faults.loss.percent * 100)
        chance = "" if share == 10000 else f"numgen random mod 10000 < {share} "
        lines.append(f"    iifname {{ {ports} }} {chance}drop")
    lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def _ports(names: frozenset[str], machines: dict[str, Machine], network: int) -> str:
    chosen = (machines[name] for name in sorted(names))
    return ", ".join(f'"{machine.port(network)}"' for machine in chosen if network in machine.networks)


def _side(part: str, text: str, known: frozenset[str]) -> frozenset[str]:
    names = [name.strip() for name in part.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(
                f"'{text}' is not a partition: there is no machine '{name}', only {', '.join(sorted(known))}"
            )
    return frozenset(names)


def _networks(link: int | None) -> tuple[int, ...]:
    if link is None:
        return NETWORKS
    if link not in LINKS:
        raise ValueError(f"there is no link {link}: use 0 or 1")
    return (link,)


def _on(networks: tuple[int, ...]) -> str:
    return "" if networks == NETWORKS else f" on link {networks[0]}"
