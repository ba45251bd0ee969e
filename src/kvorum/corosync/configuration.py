"""What corosync.conf says, typed: the cluster's name, nodes, links and votes; and the edits that we make.

A ``Configuration`` is immutable and keeps its document, so that printing loses nothing it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kvorum.corosync.document import DocumentError, Section, error_at, integer, parse, render

MAX_LINKS = 8
TOKEN_MS = 1000
TOKEN_COEFFICIENT_MS = 125
SEQNO_UNCHANGED_ROTATIONS = 1
"""How often an idle token goes round before it rests (corosync.conf(5); its default is 30): those turns wake
every node after each message for nothing, in the way of the next one."""


@dataclass(frozen=True, slots=True)
class ConfiguredNode:
    """One node as the nodelist has it; ``addresses`` by link number."""

    name: str
    nodeid: int
    votes: int
    addresses: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ConfiguredDevice:
    """The quorum device: its model (``net``), its votes and its host."""

    model: str
    votes: int
    host: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """corosync.conf as one value. Make one with ``read`` or ``new_cluster``."""

    document: Section
    cluster_name: str
    config_version: int
    nodes: tuple[ConfiguredNode, ...]
    device: ConfiguredDevice | None

    @classmethod
    def read(cls, text: str) -> Configuration:
        """Parse a text; raises ``DocumentError`` naming the line that is wrong."""
        return cls.of(parse(text))

    @classmethod
    def of(cls, document: Section) -> Configuration:
        """The typed view of a document; raises ``DocumentError``."""
        totem = document.section("totem")
        if totem is None:
            raise DocumentError("corosync.conf: there is no section 'totem'")
        if totem.get("version") != "2":
            raise error_at(totem.entry("version") or totem, "totem's version must be 2")
        name = totem.get("cluster_name")
        if not name:
            raise error_at(totem, "totem lacks a cluster_name")
        return cls(document, name, integer(totem, "config_version", 0), _nodes(document), _device(document))

    @property
    def text(self) -> str:
        """The file's text."""
        return render(self.document)

    @property
    def totem(self) -> Section:
        """The totem section."""
        section = self.document.section("totem")
        assert section is not None
        return section

    @property
    def links(self) -> tuple[int, ...]:
        """The numbers of the links that nodes have addresses on, sorted."""
        return tuple(sorted({link for node in self.nodes for link in node.addresses}))

    @property
    def total_votes(self) -> int:
        """All votes, the device's included."""
        return sum(node.votes for node in self.nodes) + (self.device.votes if self.device else 0)

    @property
    def quorum(self) -> int:
        """How many votes are needed: more than half."""
        return self.total_votes // 2 + 1

    def node(self, name: str) -> ConfiguredNode | None:
        """The node of this name."""
        return next((node for node in self.nodes if node.name == name), None)

    def free_nodeid(self) -> int:
        """The lowest node id that no node has."""
        used = {node.nodeid for node in self.nodes}
        return next(number for number in range(1, len(used) + 2) if number not in used)

    def bumped(self) -> Configuration:
        """With its version grown by one; every change that corosync shall take needs that."""
        return self.with_version(self.config_version + 1)

    def with_node(self, node: ConfiguredNode) -> Configuration:
        """With one more node, last; raises ``DocumentError`` if its name, id or address is taken."""
        nodelist = self.document.section("nodelist")
        section = _node_section(node)
        if nodelist is None:
            return self._edit(self.document.with_section(Section("nodelist", (section,))))
        return self._edit(self.document.with_section(nodelist.with_section(section), instead_of=nodelist))

    def without_node(self, name: str) -> Configuration:
        """Without a node; raises ``DocumentError`` when there is none of the name."""
        nodelist = self.document.section("nodelist")
        for section in nodelist.sections("node") if nodelist else ():
            if nodelist is not None and section.get("name") == name:
                return self._edit(
                    self.document.with_section(nodelist.without_section(section), instead_of=nodelist)
                )
        raise DocumentError(f"corosync.conf has no node '{name}'")

    def with_votes(self, name: str, votes: int) -> Configuration:
        """With other votes for a node; raises ``DocumentError`` when there is none of the name."""
        return self._edit(
            _with_node_changed(self.document, name, lambda node: node.set("quorum_votes", str(votes)))
        )

    def link_options(self, link: int) -> dict[str, str]:
        """What totem's section ``interface`` sets for a link, such as ``knet_link_priority``."""
        section = self._interface(link)
        return {k: v for k, v in section.values().items() if k != "linknumber"} if section else {}

    def with_link(
        self, link: int, addresses: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> Configuration:
        """With a link more: an address for each node by name; raises ``DocumentError`` if one is taken."""
        document = self.document
        for name, address in addresses.items():
            document = _with_node_changed(document, name, _set(f"ring{link}_addr", address))
        interface = Section.of("interface", {"linknumber": str(link), **(options or {})})
        totem = self.totem.with_section(interface, instead_of=self._interface(link))
        return self._edit(document.with_section(totem, instead_of=self.totem))

    def without_link(self, link: int) -> Configuration:
        """Without a link: no node has an address on it, and totem says nothing of it."""
        document = self.document
        for node in self.nodes:
            document = _with_node_changed(document, node.name, lambda s: s.unset(f"ring{link}_addr"))
        interface = self._interface(link)
        if interface is not None:
            document = document.with_section(self.totem.without_section(interface), instead_of=self.totem)
        return self._edit(document)

    def renamed(self, old: str, new: str) -> Configuration:
        """With another name for a node; raises ``DocumentError`` when there is none of the old, or the new
        one is taken."""
        return self._edit(_with_node_changed(self.document, old, lambda node: node.set("name", new)))

    def _interface(self, link: int) -> Section | None:
        for section in self.totem.sections("interface"):
            if (section.get("linknumber") or "0") == str(link):
                return section
        return None

    def with_version(self, version: int) -> Configuration:
        """With this version."""
        return self._edit(
            self.document.with_section(self.totem.set("config_version", str(version)), instead_of=self.totem)
        )

    def _edit(self, document: Section) -> Configuration:
        return type(self).of(document)


def new_cluster(
    name: str,
    node: ConfiguredNode,
    priorities: Mapping[int, int] | None = None,
    *,
    token_coefficient: int = TOKEN_COEFFICIENT_MS,
) -> Configuration:
    """The configuration of a cluster of one node, version 1; ``priorities`` are knet's, by link."""
    interfaces = []
    for link in sorted(node.addresses):
        values = {"linknumber": str(link)}
        if priorities and link in priorities:
            values["knet_link_priority"] = str(priorities[link])
        interfaces.append(Section.of("interface", values))
    totem = {
        "cluster_name": name,
        "config_version": "1",
        "ip_version": "ipv4-6",
        "link_mode": "passive",
        "secauth": "on",
        "seqno_unchanged_const": str(SEQNO_UNCHANGED_ROTATIONS),
        "token": str(TOKEN_MS),
        "token_coefficient": str(token_coefficient),
        "version": "2",
    }
    root = Section(
        "",
        (
            Section.of("logging", {"debug": "off", "to_syslog": "yes"}),
            Section("nodelist", (_node_section(node),)),
            Section.of("quorum", {"provider": "corosync_votequorum"}),
            Section.of("totem", totem, *interfaces),
        ),
    )
    return Configuration.of(root)


def _set(key: str, value: str) -> Callable[[Section], Section]:
    return lambda section: section.set(key, value)


def _with_node_changed(document: Section, name: str, change: Callable[[Section], Section]) -> Section:
    nodelist = document.section("nodelist")
    for section in nodelist.sections("node") if nodelist else ():
        if nodelist is not None and section.get("name") == name:
            changed = nodelist.with_section(change(section), instead_of=section)
            return document.with_section(changed, instead_of=nodelist)
    raise DocumentError(f"corosync.conf has no node '{name}'")


def _nodes(document: Section) -> tuple[ConfiguredNode, ...]:
    nodelist = document.section("nodelist")
    if nodelist is None:
        return ()
    seen: dict[str, str] = {}
    nodes = []
    for section in nodelist.sections("node"):
        node = _node(section)
        if not node.addresses or node.nodeid == 0:
            raise error_at(section, f"node '{node.name}' needs a nodeid of at least 1 and a ring0_addr")
        marks = [
            f"name {node.name}",
            f"nodeid {node.nodeid}",
            *(f"address {a}" for a in node.addresses.values()),
        ]
        for mark in marks:
            if mark in seen:
                raise error_at(section, f"{mark} is used by node '{seen[mark]}' and '{node.name}'")
        seen.update(dict.fromkeys(marks, node.name))
        nodes.append(node)
    return tuple(nodes)


def _node(section: Section) -> ConfiguredNode:
    addresses = {}
    for link in range(MAX_LINKS):
        address = section.get(f"ring{link}_addr")
        if address:
            addresses[link] = address
    name = section.get("name") or next(iter(addresses.values()), "")
    return ConfiguredNode(name, integer(section, "nodeid"), integer(section, "quorum_votes", 1), addresses)


def _device(document: Section) -> ConfiguredDevice | None:
    quorum = document.section("quorum")
    device = quorum.section("device") if quorum else None
    if device is None:
        return None
    model = device.get("model") or ""
    details = device.section(model)
    return ConfiguredDevice(
        model, integer(device, "votes", 1), (details.get("host") if details else None) or ""
    )


def _node_section(node: ConfiguredNode) -> Section:
    values = {"name": node.name, "nodeid": str(node.nodeid), "quorum_votes": str(node.votes)}
    values |= {f"ring{link}_addr": address for link, address in sorted(node.addresses.items())}
    return Section.of("node", values)
