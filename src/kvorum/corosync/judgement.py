"""Whether a new corosync.conf may replace the one that runs: judged before it is spread. Pure.

Besides the text itself, two things must hold. The present nodes keep their majority. And every majority by
the old votes shares a voter with every majority by the new ones: a node that is cut off in the very moment of
the change counts by the old votes while others count by the new, and two partitions that share nobody could
both go on. One vote more or less for one node always holds it; larger changes are made in such steps.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from kvorum.corosync.configuration import Configuration
from kvorum.corosync.document import DocumentError


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said about a change: ``errors`` forbid it."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judge(
    old: Configuration | None,
    new_text: str,
    present: Set[int] = frozenset(),
    *,
    behind: Collection[str] = (),
    kept: bool = False,
    force: bool = False,
) -> Judgement:
    """Whether ``new_text`` may replace ``old`` while the nodes with the ids ``present`` are here.

    It must parse, keep the cluster's name, have a grown version, lose no node that is present (with ``kept``
    none at all), change no node's id, and leave the present nodes a majority; an empty ``present`` skips what
    needs it. ``behind`` names nodes that are here and do not run ``old`` yet. ``force`` lets go what the
    present nodes would lose, and who is behind.
    """
    try:
        new = Configuration.read(new_text)
    except DocumentError as error:
        return Judgement((str(error),))
    if old is None or new.text == old.text:
        return Judgement()
    errors: list[str] = []
    if new.config_version <= old.config_version:
        errors.append(
            f"corosync.conf: config_version is {new.config_version}, the running cluster has "
            f"{old.config_version}: a change needs a greater one"
        )
    if new.cluster_name != old.cluster_name:
        errors.append(
            f"corosync.conf: the cluster's name can't change ('{old.cluster_name}' to '{new.cluster_name}')"
        )
    errors += _nodes(old, new, present, kept=kept)
    if lacking := [node.name for node in new.nodes if 0 not in node.addresses and 0 in old.links]:
        errors.append(
            f"corosync.conf: node {', '.join(lacking)} lacks ring0_addr, by which corosync tells "
            "nodes apart and counts their votes"
        )
    if not force:
        errors += _present(old, new, present, behind)
    if present and (sides := _two_majorities(old, new)):
        errors.append(
            f"corosync.conf: too large for one step: cut off from each other in between, {sides[0]} would go "
            f"on by the old votes and {sides[1]} by the new; change one node by one vote at a time "
            "('pvecm votes' does)"
        )
    return Judgement(tuple(errors))


def _nodes(old: Configuration, new: Configuration, present: Set[int], *, kept: bool) -> list[str]:
    errors = []
    for node in old.nodes:
        now = new.node(node.name)
        if now is None and node.nodeid in present:
            errors.append(
                f"corosync.conf: node '{node.name}' is running and missing in the new one: shut it down first"
            )
        elif now is None and kept:
            errors.append(
                f"corosync.conf: node '{node.name}' is missing in the new one: remove it by "
                f"'pvecm delnode {node.name}'"
            )
        if now is not None and now.nodeid != node.nodeid:
            errors.append(f"corosync.conf: node '{node.name}' can't change its nodeid {node.nodeid}")
    return errors


def _present(old: Configuration, new: Configuration, present: Set[int], behind: Collection[str]) -> list[str]:
    errors = []
    votes = sum(node.votes for node in new.nodes if node.nodeid in present)
    if present and votes + (new.device.votes if new.device else 0) < new.quorum:
        errors.append(
            f"corosync.conf: the nodes that are here would have {votes} of the {new.quorum} votes needed, "
            "and nothing could be changed any more; start the other nodes first"
        )
    if behind:
        errors.append(
            f"corosync.conf: {', '.join(sorted(behind))} does not say that it runs version "
            f"{old.config_version}: look at pvedaemon there, or try again in a moment"
        )
    return errors


def _two_majorities(old: Configuration, new: Configuration) -> tuple[str, str] | None:
    """Two sides without a common voter that each have a majority, by the old and by the new votes.

    A QDevice that comes or goes is not counted: its vote takes time to be believed (store/protocol/views).
    """
    was = old.device.votes if old.device else 0
    device = was if new.device and was == new.device.votes else 0
    names = sorted({node.name for node in (*old.nodes, *new.nodes)})
    old_total = sum(node.votes for node in old.nodes) + device
    new_total = sum(node.votes for node in new.nodes) + device
    for with_old in {0, device}:
        # The least old votes with which a side leaves so many new votes to the other: a knapsack over nodes.
        best: dict[int, tuple[int, tuple[str, ...]]] = {with_old: (device - with_old, ())}
        for name in names:
            before, after = old.node(name), new.node(name)
            mine, theirs = before.votes if before else 0, after.votes if after else 0
            grown: dict[int, tuple[int, tuple[str, ...]]] = {}
            for gathered, (left, side) in best.items():
                for key, value in (
                    (gathered + mine, (left, (*side, name))),
                    (gathered, (left + theirs, side)),
                ):
                    if key not in grown or grown[key][0] < value[0]:
                        grown[key] = value
            best = grown
        for gathered, (left, side) in best.items():
            if 2 * gathered > old_total and 2 * left > new_total:
                others = [name for name in names if name not in side]
                return _named(side, with_old), _named(others, device - with_old)
    return None


def _named(nodes: Collection[str], device: int) -> str:
    return " and ".join([*nodes, *(["the QDevice"] if device else [])])
