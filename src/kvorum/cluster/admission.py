"""What the cluster asks of a node that wants in, and what the node asks of itself. Pure.

Each function returns all refusals at once, as sentences; an empty list lets it through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvorum.cluster.links import Link, addresses
from kvorum.corosync import Configuration, ConfiguredNode

JOIN_API_VERSION = 1
CLOCK_APART_S = 30.0
"""How far clocks may be apart."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What matters about the node that wants to create or join a cluster."""

    node: str
    addresses: tuple[str, ...]
    authkey_present: bool
    configuration_present: bool
    corosync_running: bool
    guests: tuple[str, ...] = ()
    """The guests on it, as ``VM 100``."""
    running: tuple[str, ...] = ()
    """The vmids of those that run."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A node's request to be taken in, as its peer sees it."""

    node: str
    links: Mapping[int, Link]
    nodeid: int | None = None
    votes: int | None = None
    force: bool = False
    address: str | None = None
    """The address it came from or named; link 0 when it gave no links."""
    api_version: int | None = None
    brought: str | None = None
    """Its guests and storages (see ``bring``)."""
    withdrawal: str | None = None
    """The secret by which it can take itself off the list again."""


def create_refusals(facts: HostFacts, links: Mapping[int, Link]) -> list[str]:
    """Why a cluster can't be created here."""
    refusals = []
    if facts.configuration_present:
        refusals.append("cluster config '/etc/pve/corosync.conf' already exists")
    if facts.corosync_running:
        refusals.append("corosync is already running: is this node part of a cluster?")
    return refusals + _link_refusals(facts, links)


def join_refusals(facts: HostFacts, links: Mapping[int, Link], *, keep_guests: bool = False) -> list[str]:
    """Why this node can't join a cluster; with ``keep_guests`` its guests may come along, shut down."""
    refusals = []
    if facts.authkey_present:
        refusals.append("authentication key '/etc/corosync/authkey' already exists")
    if facts.configuration_present:
        refusals.append("cluster config '/etc/pve/corosync.conf' already exists")
    if keep_guests and facts.running:
        refusals.append(f"VM {', '.join(facts.running)} runs: shut guests down that shall come along")
    if facts.guests and not keep_guests:
        refusals.append(
            "this host already contains virtual guests, whose ids may exist in the cluster: "
            + ", ".join(facts.guests)
            + "; take them along with --keep-guests, or shut them down and move their configurations away "
            f"meanwhile (mv /etc/pve/nodes/{facts.node}/qemu-server/* elsewhere, and back after the join)"
        )
    if facts.corosync_running:
        refusals.append("corosync is already running: is this node part of a cluster?")
    return refusals + _link_refusals(facts, links)


def clock_refusals(peer: str, ahead_s: float | None) -> list[str]:
    """Why a node can't join whose clock is not the peer's: tickets and logs would be of another time."""
    if ahead_s is None or abs(ahead_s) <= CLOCK_APART_S:
        return []
    way = "behind" if ahead_s > 0 else "ahead of"
    return [
        f"the clock of this node is {abs(ahead_s):.0f} s {way} that of {peer}: set both right (NTP, "
        "timedatectl)"
    ]


def check_failed(refusals: Sequence[str]) -> str:
    """The refusals as one text, as users know it."""
    lines = ["detected the following error(s):", *(f"* {text}" for text in refusals)]
    return "\n".join(["Check if node may join a cluster failed!", *lines])


def admit(configuration: Configuration, request: Admission) -> tuple[Configuration | None, list[str]]:
    """The configuration with the node in it, or why it is not taken in.

    With ``force`` a node that is in the list already, under the same id and votes, gets the configuration
    as it is: a join that broke off may be repeated.
    """
    refusals = _version_refusals(request)
    given = addresses(request.links)
    if not given:
        if len(configuration.links) > 1:
            refusals.append(_links_needed(configuration))
        elif request.address:
            given = {0: request.address}
        else:
            refusals.append(f"node '{request.node}' gave no address: use --link0")
    elif tuple(given) != configuration.links:
        refusals.append(_links_needed(configuration))
    present = configuration.node(request.node)
    if present is not None:
        same = request.force and (
            (request.nodeid in (None, present.nodeid))
            and (request.votes in (None, present.votes))
            and dict(present.addresses) == given
        )
        if same and not refusals:
            return configuration, []
        refusals.append(
            f"can't add existing node '{request.node}'; remove it first (pvecm delnode), or repeat its own "
            "join with --force and the same id, votes and addresses"
        )
    refusals += _taken(configuration, request, given)
    if refusals:
        return None, refusals
    new = ConfiguredNode(
        request.node,
        request.nodeid if request.nodeid is not None else configuration.free_nodeid(),
        request.votes if request.votes is not None else 1,
        given,
    )
    return configuration.with_node(new).bumped(), []


def _version_refusals(request: Admission) -> list[str]:
    if request.api_version is None or request.api_version == JOIN_API_VERSION:
        return []
    newer = "the cluster's nodes" if request.api_version > JOIN_API_VERSION else f"node '{request.node}'"
    return [
        f"node '{request.node}' speaks version {request.api_version} of the join, this cluster "
        f"{JOIN_API_VERSION}: upgrade {newer} first"
    ]


def _taken(configuration: Configuration, request: Admission, given: Mapping[int, str]) -> list[str]:
    refusals = []
    for node in configuration.nodes:
        if node.name == request.node:
            continue
        for link, address in given.items():
            if address in node.addresses.values():
                refusals.append(f"link {link}: address '{address}' is already used by node '{node.name}'")
        if request.nodeid == node.nodeid:
            refusals.append(f"nodeid {request.nodeid} is already used by node '{node.name}'")
    return refusals


def _links_needed(configuration: Configuration) -> str:
    wanted = " ".join(f"--link{link} ADDRESS" for link in configuration.links)
    return f"the cluster has link {', '.join(map(str, configuration.links))}: give exactly {wanted}"


def _link_refusals(facts: HostFacts, links: Mapping[int, Link]) -> list[str]:
    refusals = []
    for number, link in sorted(links.items()):
        if link.address not in facts.addresses:
            here = ", ".join(facts.addresses) or "none"
            refusals.append(
                f"link {number}: address '{link.address}' is not configured on this node ({here} are)"
            )
    used: dict[str, int] = {}
    for number, link in sorted(links.items()):
        if link.address in used:
            refusals.append(
                f"link {number} and link {used[link.address]} have the same address '{link.address}'"
            )
        used[link.address] = number
    if not facts.addresses:
        refusals.append("this node has no address that others could reach")
    return refusals
