"""Another address for a node on link 0, by which corosync knows it: the node stands aside for a moment. Pure.

Two versions of corosync.conf: the others drop the node, whose corosync stops as soon as its store has that
version; then they list it anew, with its id, votes and other addresses, and it fetches that version and
starts with it. Its guests run on; its /etc/pve is read-only for the seconds in between.

Invariant: the node's corosync never runs with a version that has another of its addresses on link 0 than
the others' have, except alone. Both partitions can't be quorate at once: each step changes one node's votes
(``judge``), and what a node that stands aside has by the old version is no majority.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace

from kvorum.cluster.relink.change import Change, addresses_of
from kvorum.corosync import Configuration, ConfiguredNode, judge

LINK = 0
_NOBODY = ConfiguredNode("", 0, 0, {})


@dataclass(frozen=True, slots=True)
class Readdress(Change):
    """One node's other address on link 0."""

    listed: ConfiguredNode = field(default=_NOBODY)
    """How the node stood in corosync.conf."""

    @classmethod
    def of(cls, now: Configuration, node: ConfiguredNode, address: str) -> Readdress:
        """The change that gives ``node`` the address."""
        before, options = addresses_of(now, LINK), now.link_options(LINK)
        return cls(LINK, before, {**before, node.name: address}, options, options, node)

    @property
    def back(self) -> Readdress:
        """The change that undoes this one."""
        return replace(self, before=self.after, after=self.before)

    @property
    def aside(self) -> str:
        """The node that stands aside meanwhile."""
        return self.listed.name

    def reached(self, now: Configuration) -> bool:
        """Whether the node is listed with the address."""
        node = now.node(self.aside)
        return node is not None and node.addresses.get(LINK) == self.after.get(self.aside)

    def next_version(self, now: Configuration) -> Configuration | None:
        """Without the node, then with it; raises ``DocumentError`` when its address is another's."""
        if self.reached(now):
            return None
        if now.node(self.aside) is not None:
            return now.without_node(self.aside).bumped()
        addresses = {**self.listed.addresses, LINK: self.after[self.aside]}
        return now.with_node(replace(self.listed, addresses=addresses)).bumped()

    def said(self, new: Configuration) -> str:
        """What a new version on the way is."""
        if new.node(self.aside) is None:
            return f"{self.aside} stands aside, and its corosync stops"
        return f"{self.aside} is listed with {self.after[self.aside]}, and its corosync starts"

    def fields(self) -> dict[str, object]:
        """As it is written to the store."""
        return asdict(self)


def refusals(now: Configuration, change: Readdress, here: str, present: Set[int]) -> list[str]:
    """Why a node can't stand aside, besides what holds for every change; ``here`` asks."""
    node, rest = change.listed, present - {change.listed.nodeid}
    others = [one.name for one in now.nodes if one.name != node.name and one.nodeid in present]
    if not others:
        return [
            f"node '{node.name}' is alone now, and its address on link 0 changes only where another node "
            "keeps the cluster meanwhile: start one, or leave the cluster (pvecm leave)"
        ]
    if node.name == here:
        return [
            f"node '{node.name}' stands aside while its address on link 0 changes, so another node has to "
            f"see to it: run 'pvecm link set {node.name} --link0 {change.after[node.name]}' on {others[0]}"
        ]
    if node.nodeid not in present:
        return [f"node '{node.name}' is off, and has to fetch its new address: start it first"]
    without = now.without_node(node.name).bumped()
    return [
        f"node '{node.name}' can't stand aside: {error}" for error in judge(now, without.text, rest).errors
    ]


def stands_aside(change: Change, node: str, now: Configuration) -> bool:
    """Whether a node has to do without corosync until the others list it again."""
    return bool(change.aside) and change.aside == node and now.node(node) is None


def counted_present(change: Change, new: Configuration, online: Mapping[str, int]) -> frozenset[int]:
    """Who is here as far as a new version is judged: who stands aside is not, and is awaited once listed."""
    ids = {nodeid for name, nodeid in online.items() if name != change.aside}
    listed = new.node(change.aside) if change.aside else None
    return frozenset(ids | ({listed.nodeid} if listed is not None else set()))
