"""A change of one link, as corosync can follow it at run time. Pure.

Corosync takes up a link and drops one while it runs, but does not move one ("To reconfigure an interface it
must be deleted and recreated"): an address is changed by dropping the link and adding it anew. Link 0 it
can't do without: nodes are told apart, and their votes counted, by ring0_addr (seen with 3.1.7:
"configuration error: nodelist or quorum.expected_votes must be configured"). There a node has another
address by standing aside for a moment (``readdress``).

So a change is one or two new versions of corosync.conf, each followed by all nodes before the next.
Invariant: no version moves an address in place. Before its end a change can go on or be taken back from any
version in between: both are the way from what the configuration says now to the addresses that it shall have.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace

from kvorum.corosync import MAX_LINKS, Configuration


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

    @property
    def aside(self) -> str:
        """The node that stands aside meanwhile, without corosync; mostly none."""
        return ""

    def reached(self, now: Configuration) -> bool:
        """Whether the configuration is at the change's end."""
        same = addresses_of(now, self.link) == dict(self.after)
        return same and now.link_options(self.link) == dict(self.after_options)

    def next_version(self, now: Configuration) -> Configuration | None:
        """The next version of corosync.conf on the way to the change's end; ``None`` when that is reached.

        Raises ``ValueError`` when the nodes are no longer those that the change is about.
        """
        if self.reached(now):
            return None
        if addresses_of(now, self.link):
            return now.without_link(self.link).bumped()
        names = {node.name for node in now.nodes}
        if names != set(self.after):
            raise ValueError(
                f"link {self.link} can't be brought back: the cluster has the nodes "
                f"{', '.join(sorted(names))} now, and the link was one of {', '.join(sorted(self.after))}; "
                f"give each an address (pvecm link add {self.link} NODE=ADDRESS,…)"
            )
        return now.with_link(self.link, self.after, self.after_options).bumped()

    def said(self, new: Configuration) -> str:
        """What a new version on the way is."""
        return f"link {self.link}: {'taken in' if self.link in new.links else 'taken out'}"

    def without(self, node: str) -> Change:
        """The change as if the node had never had a part in it: it was removed meanwhile."""
        before = {name: address for name, address in self.before.items() if name != node}
        after = {name: address for name, address in self.after.items() if name != node}
        return replace(self, before=before, after=after)

    def fields(self) -> dict[str, object]:
        """As it is written to the store."""
        return asdict(self)


def addresses_of(configuration: Configuration, link: int) -> dict[str, str]:
    """The nodes' addresses on a link."""
    return {n.name: n.addresses[link] for n in configuration.nodes if link in n.addresses}


def ending(now: Configuration, change: Change) -> Change:
    """What ends a change that was broken off: nothing where its end was reached, else the way back."""
    return change if change.reached(now) else change.back


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
    if change.before and link == 0 and not change.aside:
        found.append(
            "link 0 can't be dropped while corosync runs, which knows each node by its address there: "
            "'pvecm link set NODE --link0 ADDRESS' moves one node's"
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
