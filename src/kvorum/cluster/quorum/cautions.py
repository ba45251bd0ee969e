"""Shapes that fool people: clusters that look safer than they are, each with what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kvorum.cluster.quorum.shape import Shape


@dataclass(frozen=True, slots=True)
class Caution:
    """One thing to know; ``kind`` names it for the page, which says it in the reader's language."""

    kind: str
    sentence: str
    node: str = ""
    """The node it is about, where it is about one."""


def cautions(shape: Shape) -> tuple[Caution, ...]:
    """All that is to be said about a shape, the weightiest first; nothing for a node alone."""
    if len(shape.nodes) < 2:
        return ()
    return (*_weights(shape), *_device(shape), *_split(shape), *_options(shape))


def _weights(shape: Shape) -> Iterator[Caution]:
    votes = [node.votes for node in shape.nodes]
    if len(set(votes)) == 1 and votes[0] > 1:
        total = sum(votes)
        yield Caution(
            "same-votes",
            f"All {len(votes)} nodes have {votes[0]} votes: that is no use, since the majority of {total} is "
            f"{total // 2 + 1}; more votes help only the node that has more than another "
            f"(pvecm votes NODE 1).",
        )
    elif len(votes) == 2 and votes[0] == votes[1] and shape.device is None and not shape.rules.two_node:
        yield Caution(
            "two-nodes",
            "Two nodes without a third vote: when either fails, the other is read-only. A QDevice "
            "(pvecm qdevice setup ADDRESS) or a third node lets any one fail.",
        )
    heavy = [node for node in shape.nodes if node.votes > min(votes) and _indispensable(shape, node.votes)]
    for node in heavy:
        yield Caution(
            "heavy-node",
            f"{node.name} has {node.votes} of {shape.total} votes: without it the others are read-only. "
            "Fit for other nodes that are switched on only now and then.",
            node.name,
        )
        if shape.ha:
            yield Caution(
                "ha-heavy-node",
                f"HA does not survive the death of {node.name}: the others have no quorum then, so nothing "
                "is started there. HA needs a third node or a QDevice.",
                node.name,
            )
    if shape.ha and not heavy and len(votes) == 2 and shape.device is None:
        yield Caution(
            "ha-two-nodes",
            "HA does not survive the death of either node: the other has no quorum then, so nothing is "
            "started there. HA needs a third node or a QDevice.",
        )


def _indispensable(shape: Shape, votes: int) -> bool:
    """Whether all others together, without a node of these votes, have no majority."""
    return 2 * (shape.total - votes) <= shape.total


def _device(shape: Shape) -> Iterator[Caution]:
    device = shape.device
    if device is None:
        return
    if not device.present:
        yield Caution(
            "device-away",
            f"The QDevice's vote is not here{f' ({device.host})' if device.host else ''}: see "
            "'corosync-qdevice-tool -s' here and corosync-qnetd there.",
        )
    if device.guest_on:
        yield Caution(
            "device-is-guest",
            f"The QDevice is a guest on {device.guest_on}: when that node fails, both votes are gone. "
            "Run it on a machine outside of this cluster.",
        )
    if device.algorithm == "ffsplit" and len(shape.nodes) % 2:
        yield Caution(
            "device-odd-nodes",
            f"The QDevice makes the votes of {len(shape.nodes)} nodes an even number, so that no more may "
            "fail than without it: remove it (pvecm qdevice remove) or add a node.",
        )
    elif device.votes > 1 and _indispensable(shape, device.votes):
        yield Caution(
            "device-heavy",
            f"The QDevice has {device.votes} of {shape.total} votes: with it one node is enough, without it "
            "all nodes are needed.",
        )
    elif device.algorithm == "lms" and device.votes != (fit := max(1, shape.total - device.votes - 1)):
        yield Caution(
            "device-misfit",
            f"The QDevice works by lms with {device.votes} votes and needs {fit} for the last of "
            f"{len(shape.nodes)} nodes to go on alone: set it up anew (pvecm qdevice setup ADDRESS --force).",
        )


def _split(shape: Shape) -> Iterator[Caution]:
    if shape.total % 2 or len(shape.nodes) < 3 or shape.device or shape.rules.auto_tie_breaker:
        return
    half = shape.total // 2
    sums = {0}
    for node in shape.nodes:
        sums |= {known + node.votes for known in sums}
    if half in sums:
        yield Caution(
            "even-split",
            f"{shape.total} votes can be cut into two halves of {half}: then neither goes on. One node more, "
            "or a QDevice, makes one half go on.",
        )


def _options(shape: Shape) -> Iterator[Caution]:
    if shape.links == 1:
        yield Caution(
            "one-link",
            "The nodes have one link only: one cable, switch or driver cuts the cluster. Corosync takes up "
            "to eight.",
        )
    if shape.rules.two_node:
        yield Caution(
            "two-node-option",
            "two_node is set: Corosync gives each of two nodes that are cut off from each other quorum, on "
            "which nothing is changed here. Remove it from corosync.conf.",
        )
    if shape.rules.last_man_standing:
        yield Caution(
            "last-man-standing",
            "last_man_standing is set: some seconds after a loss Corosync counts anew what is needed, so "
            "nodes may fail one after another, not at once.",
        )
    if shape.rules.wait_for_all:
        yield Caution(
            "wait-for-all",
            "wait_for_all is set: after all were off, nothing goes on until all nodes were here at once.",
        )
