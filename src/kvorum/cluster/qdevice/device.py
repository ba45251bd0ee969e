"""The quorum device in corosync.conf: what it is, and which one a cluster should have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kvorum.core.errors import Conflict
from kvorum.corosync import Configuration, DocumentError, Section

Algorithm = Literal["ffsplit", "lms"]
HeuristicsMode = Literal["on", "sync"]
"""When the command is run: at every membership change and regularly, or at a change only."""

QNETD_PORT = 5403
TIMEOUT_MS = 3000
"""How long a node's corosync keeps the QDevice's vote that is not renewed; QNetd gives a silent node up after
1.2 times this (heartbeats of 0.8 of it, and half a one more)."""
SYNC_TIMEOUT_MS = 5000
"""How long corosync holds a membership change until the QDevice has voted anew: longer than QNetd takes to
give a dead node up (3.6 s), else the survivor would lose quorum in between."""


@dataclass(frozen=True, slots=True)
class Device:
    """A QDevice as it is asked for."""

    address: str
    algorithm: Algorithm
    votes: int
    heuristics: str = ""
    """A command that must succeed on a node for its partition to be preferred; empty: none."""
    mode: HeuristicsMode = "on"


def suitable(configuration: Configuration, algorithm: Algorithm | None = None) -> tuple[Algorithm, int]:
    """The algorithm and its votes; if none is given, ffsplit for an even count of nodes, lms for an odd one.

    ffsplit has one vote; lms as many as all nodes together less one, so that the last node standing is
    quorate (corosync-qdevice(8)).
    """
    chosen: Algorithm = algorithm or ("lms" if len(configuration.nodes) % 2 else "ffsplit")
    votes = sum(node.votes for node in configuration.nodes)
    return chosen, 1 if chosen == "ffsplit" else max(1, votes - 1)


def with_device(configuration: Configuration, device: Device) -> Configuration:
    """The next version of a configuration, with this device in the place of any other."""
    net = Section.of(
        "net",
        {
            "algorithm": device.algorithm,
            "host": device.address,
            "port": str(QNETD_PORT),
            "tls": "required",
        },
    )
    sections = [net]
    if device.heuristics:
        sections.append(Section.of("heuristics", {"exec_kvorum": device.heuristics, "mode": device.mode}))
    values = {
        "model": "net",
        "sync_timeout": str(SYNC_TIMEOUT_MS),
        "timeout": str(TIMEOUT_MS),
        "votes": str(device.votes),
    }
    section = Section.of("device", values, *sections)
    quorum = configuration.document.section("quorum")
    if quorum is None:
        raise DocumentError("corosync.conf: there is no section 'quorum'")
    old = quorum.section("device")
    new = quorum.with_section(section, instead_of=old) if old else quorum.with_section(section)
    return Configuration.of(configuration.document.with_section(new, instead_of=quorum)).bumped()


def without_device(configuration: Configuration) -> Configuration:
    """The next version of a configuration, without its device; the same one when it has none."""
    quorum = configuration.document.section("quorum")
    old = quorum.section("device") if quorum else None
    if quorum is None or old is None:
        return configuration
    new = quorum.without_section(old)
    return Configuration.of(configuration.document.with_section(new, instead_of=quorum)).bumped()


def algorithm_of(configuration: Configuration) -> str:
    """The configured device's algorithm; empty when there is no device."""
    quorum = configuration.document.section("quorum")
    section = quorum.section("device") if quorum else None
    net = section.section("net") if section else None
    if section is None:
        return ""
    return (net.get("algorithm") if net else None) or "ffsplit"


def check_setup(
    configuration: Configuration, address: str, online: Sequence[str], *, force: bool
) -> list[str]:
    """Raise ``Conflict`` with all that stands against a setup; what ``force`` allows is returned."""
    refusals, doubts = [], []
    for node in configuration.nodes:
        if address in node.addresses.values() or address == node.name:
            refusals.append(
                f"{address} is node '{node.name}' of this cluster: a QDevice must be another machine"
            )
    if configuration.device is not None:
        doubts.append(
            f"the cluster has a QDevice already, at {configuration.device.host or 'no address'}: remove it "
            "first (pvecm qdevice remove), or use --force to set it up anew"
        )
    away = [node.name for node in configuration.nodes if node.name not in online]
    if away:
        doubts.append(
            f"{', '.join(away)} can't be prepared while away: start all nodes first, or use --force (a node "
            "that comes back makes itself ready, if corosync-qdevice is installed there)"
        )
    if not force:
        refusals += doubts
    if refusals:
        raise Conflict("\n".join(refusals))
    return doubts


def advice(configuration: Configuration, algorithm: Algorithm) -> list[str]:
    """What an admin should know of this shape (the manual's recommendations), as warnings."""
    count = len(configuration.nodes)
    found = []
    if algorithm == "lms":
        found.append(
            f"with {count} nodes and lms the QDevice has as many votes as all nodes less one: one node may "
            "go on alone, but without the QDevice no further node may fail. A QDevice is meant for an even "
            "count of nodes"
        )
    elif count % 2:
        found.append(
            f"{count} nodes are an odd count: with ffsplit the QDevice's vote helps none of their splits "
            "and one vote more is needed; without a QDevice as many nodes may fail"
        )
    if algorithm == "ffsplit" and len({node.votes for node in configuration.nodes}) > 1:
        found.append("the nodes have different votes: ffsplit counts nodes, so its vote may not decide")
    return found


def misfit(configuration: Configuration) -> str:
    """A sentence when the configured device no longer suits the count of nodes; else empty."""
    present = algorithm_of(configuration)
    if configuration.device is None or not present:
        return ""
    wanted, votes = suitable(configuration)
    if wanted == present and votes == configuration.device.votes:
        return ""
    return (
        f"the QDevice works by {present} with {_count(configuration.device.votes, 'vote')}, which does not "
        f"suit {_count(len(configuration.nodes), 'node')}: set it up anew (pvecm qdevice setup "
        f"{configuration.device.host} --force), or remove it (pvecm qdevice remove)"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
