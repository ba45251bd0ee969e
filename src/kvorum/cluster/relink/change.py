"""A change of one link, as corosync can follow it at run time. Pure.

Corosync takes up a link and drops one while it runs, but does not move one ("To reconfigure an interface it
must be deleted and recreated"): an address is changed by dropping the link and adding it anew. Link 0 it
can't do without: nodes are told apart, and their votes counted, by ring0_addr (seen with 3.1.7:
"configuration error: nodelist or quorum.expected_votes must be configured").

So a change is one or two new versions of corosync.conf, each followed by all nodes before the next.
Invariant: no version moves an address in place, and link 0 stays as it is. Before its end a change can go on
or be taken back from any version in between: both are the way from what the configuration says now to the
addresses that it shall have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace

from kvorum.corosync import MAX_LINKS, Configuration

FILE = "link-change.json"
"""Where the change under way stands in the store, for whoever has to end it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One link's addresses by node name, before and after; none at all where the link is not there."""

    link: int
    before: Mapping[str, str]
    after: Mapping[str, str]
    before_options: Mapping[str, str] = field(default_factory=dict)
    """What totem's ``interface`` says of the link."""
    after_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def back(self) -> Change:
        """The change that undoes this one."""
        return Change(self.link, self.after, self.before, self.after_options, self.before_options)

    @property
    def moved(self) -> Set[str]:
        """The nodes whose address on the link is another one, or new."""
        return {node for node, address in self.after.items() if self.before.get(node) != address}


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A change that was begun, and by which node: that one ends it, also after its daemon died."""

    change: Change
    node: str

    def text(self) -> str:
        """As it stands in the store."""
        return json.dumps({"node": self.node, **asdict(self.change)}, indent=1) + "\n"

    @classmethod
    def read(cls, text: str) -> UnderWay:
        """Parse it; raises ``ValueError`` when it is none."""
        try:
            raw = json.loads(text)
            change = Change(
                int(raw["link"]),
                dict(raw["before"]),
                dict(raw["after"]),
                dict(raw["before_options"]),
                dict(raw["after_options"]),
            )
            return cls(change, str(raw["node"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"'{FILE}' can't be read ({error}): look at it, then remove it") from None


def addresses_of(configuration: Configuration, link: int) -> dict[str, str]:
    """The nodes' addresses on a link."""
    return {n.name: n.addresses[link] for n in configuration.nodes if link in n.addresses}


def next_version(now: Configuration, change: Change) -> Configuration | None:
    """The next version of corosync.conf on the way to the change's end; ``None`` when that is reached.

    Raises ``ValueError`` when the nodes are no longer those that the change is about.
    """
    if reached(now, change):
        return None
    if addresses_of(now, change.link):
        return now.without_link(change.link).bumped()
    names = {node.name for node in now.nodes}
    if names != set(change.after):
        raise ValueError(
            f"link {change.link} can't be brought back: the cluster has the nodes {', '.join(sorted(names))} "
            f"now, and the link was one of {', '.join(sorted(change.after))}; give each an address "
            f"(pvecm link add {change.link} NODE=ADDRESS,…)"
        )
    return now.with_link(change.link, change.after, change.after_options).bumped()


def ending(now: Configuration, change: Change) -> Change:
    """What ends a change that was broken off: nothing where its end was reached, else the way back."""
    return change if reached(now, change) else change.back


def reached(now: Configuration, change: Change) -> bool:
    """Whether the configuration is at the change's end."""
    same = addresses_of(now, change.link) == dict(change.after)
    return same and now.link_options(change.link) == dict(change.after_options)


def added(now: Configuration, link: int, addresses: Mapping[str, str], priority: int | None) -> Change:
    """A link more."""
    options = {} if priority is None else {"knet_link_priority": str(priority)}
    return Change(link, {}, dict(addresses), {}, options)


def moved(now: Configuration, link: int, node: str, address: str, priority: int | None) -> Change:
    """Another address for a node on a link, and another priority of the link if one is given."""
    before, options = addresses_of(now, link), now.link_options(link)
    after = options if priority is None else {**options, "knet_link_priority": str(priority)}
    return Change(link, before, {**before, node: address}, options, after)


def removed(now: Configuration, link: int) -> Change:
    """A link less."""
    return Change(link, addresses_of(now, link), {}, now.link_options(link), {})


def refusals(now: Configuration, change: Change, online: Set[str], *, force: bool = False) -> list[str]:
    """Why a change can't be made, all at once; ``force`` lets nodes be off that can't be asked then."""
    link, found = change.link, []
    if link not in range(MAX_LINKS):
        return [f"there is no link {link}: links are numbered 0 to {MAX_LINKS - 1}"]
    names = {node.name for node in now.nodes}
    if not change.before and link in now.links:
        return [
            f"link {link} is there already: 'pvecm link set NODE --link{link} ADDRESS' changes an address"
        ]
    if change.before != addresses_of(now, link) or (not change.before and not change.after):
        known = ", ".join(map(str, now.links))
        return [f"the cluster has no link {link}, only {known}: 'pvecm link add {link} …' makes one"]
    if change.before and link == 0:
        found.append(
            "link 0 can't be dropped or moved while corosync runs, which knows each node by its address "
            "there: a node has another one when it leaves and joins again (pvecm leave; pvecm add … --link0 "
            "ADDRESS)"
        )
    if change.after:
        if strangers := sorted(set(change.after) - names):
            found.append(f"the cluster has no node '{strangers[0]}', only: {', '.join(sorted(names))}")
        if lacking := sorted(names - set(change.after)):
            found.append(f"each node needs an address on link {link}: {', '.join(lacking)} has none")
    used = {
        address: (node.name, number)
        for node in now.nodes
        for number, address in node.addresses.items()
        if number != link
    }
    seen: dict[str, str] = {}
    for node, address in sorted(change.after.items()):
        if address in used:
            whose, number = used[address]
            found.append(f"address '{address}' is already used by node '{whose}' on link {number}")
        elif address in seen:
            found.append(f"address '{address}' is given for both '{seen[address]}' and '{node}'")
        seen[address] = node
    if (away := sorted(names - online)) and not force:
        found.append(
            f"node {', '.join(away)} is off, so its part of link {link} can't be looked at: start it first, "
            "or say --force, and it follows when it is back"
        )
    return found


def without_node(under: UnderWay, node: str) -> UnderWay:
    """The change as if the node had never had a part in it: it was removed meanwhile."""
    change = under.change
    before = {name: address for name, address in change.before.items() if name != node}
    after = {name: address for name, address in change.after.items() if name != node}
    return replace(under, change=replace(change, before=before, after=after))
