"""``pvecm status`` and ``pvecm nodes``: what this node's Corosync knows, asked of it directly.

Works when no daemon of ours runs. Imports little: these commands are typed often.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from kvorum.cluster.quorum import Explanation, Voter, explain
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.corosync import Cfg, Cmap, CorosyncNotFound, Flag, Quorum, RingId, VoteInfo, Votequorum

_FLAGS = (
    (Flag.TWONODE, "2Node"),
    (Flag.QUORATE, "Quorate"),
    (Flag.WAIT_FOR_ALL, "WaitForAll"),
    (Flag.LAST_MAN_STANDING, "LastManStanding"),
    (Flag.AUTO_TIE_BREAKER, "AutoTieBreaker"),
    (Flag.ALLOW_DOWNSCALE, "AllowDownscale"),
    (Flag.QDEVICE_REGISTERED, "Qdevice"),
)


@dataclass(frozen=True, slots=True)
class StatusNode:
    """A member of the partition; ``name`` is the node's, ``address`` its first link's."""

    nodeid: int
    votes: int
    name: str
    address: str
    flags: Flag


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Everything the two commands print, as one value."""

    cluster_name: str
    config_version: str
    transport: str
    secure_auth: str
    ring: RingId
    local: VoteInfo
    members: tuple[StatusNode, ...]
    configured: tuple[Voter, ...]
    """All voters of the configuration, the QDevice among them."""


def status_text() -> str:
    """What ``pvecm status`` prints. Raises ``KvorumError`` on a node without a cluster, ``CorosyncGone`` when
    corosync does not run."""
    _require_cluster()
    view = look()
    return status_block(view, time.time()) + "\n" + quorum_block(explain_view(view))


def nodes_text() -> str:
    """What ``pvecm nodes`` prints; raises as ``status_text`` does."""
    _require_cluster()
    return nodes_block(look())


def look() -> ClusterView:
    """Ask this node's corosync; raises ``CorosyncGone`` when it does not run."""
    seen: list[tuple[RingId, tuple[int, ...]]] = []
    with (
        Cmap() as cmap,
        Votequorum() as votes,
        Cfg() as cfg,
        Quorum(quorum_change=lambda _q, ring, nodes: seen.append((ring, nodes))) as quorum,
    ):
        quorum.track()
        quorum.dispatch()
        if not seen:
            raise KvorumError("corosync did not tell its membership; try again")
        ring, nodeids = seen[-1]
        local = votes.info()
        keys = cmap.items("nodelist.node.")
        names, weights = _configured(keys)
        members = []
        for nodeid in nodeids:
            info = votes.info(nodeid)
            addresses = cfg.addresses(nodeid)
            address = addresses[0] if addresses else ""
            members.append(StatusNode(nodeid, info.votes, names.get(nodeid, address), address, info.flags))
        voters = [Voter(names[n], weights[n], n in nodeids) for n in sorted(names)]
        if Flag.QDEVICE_REGISTERED in local.flags:
            voters.append(Voter("Qdevice", _qdevice_votes(votes), Flag.QDEVICE_CAST_VOTE in local.flags))
        return ClusterView(
            cluster_name=cmap.text("totem.cluster_name"),
            config_version=cmap.text("totem.config_version", "0"),
            transport=cmap.text("totem.transport", "knet"),
            secure_auth=cmap.text("totem.secauth", "off"),
            ring=ring,
            local=local,
            members=tuple(members),
            configured=tuple(voters),
        )


def explain_view(view: ClusterView) -> Explanation:
    """The quorum explained, as Corosync counts it now."""
    return explain(view.configured, quorate=view.local.quorate)


def status_block(view: ClusterView, now: float) -> str:
    """The known text of ``pvecm status``; ``now`` in Unix seconds."""
    info = view.local
    lines = [
        *_title("Cluster information"),
        f"{'Name:':<17} {view.cluster_name}",
        f"{'Config Version:':<17} {view.config_version}",
        f"{'Transport:':<17} {view.transport}",
        f"{'Secure auth:':<17} {view.secure_auth}",
        "",
        *_title("Quorum information"),
        _row("Date:", time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(now))),
        _row("Quorum provider:", "corosync_votequorum"),
        _row("Nodes:", str(len(view.members))),
        _row("Node ID:", f"0x{info.nodeid:08x}"),
        _row("Ring ID:", str(view.ring)),
        _row("Quorate:", "Yes" if info.quorate else "No"),
        "",
        *_title("Votequorum information"),
        _row("Expected votes:", str(info.expected)),
        _row("Highest expected:", str(info.highest_expected)),
        _row("Total votes:", str(info.total)),
        _row("Quorum:", f"{info.quorum} {' ' if info.quorate else 'Activity blocked'}"),
        _row("Flags:", "".join(f"{name} " for flag, name in _FLAGS if flag in info.flags)),
        "",
        *_membership(view, decimal=False),
    ]
    return "\n".join(lines) + "\n"


def nodes_block(view: ClusterView) -> str:
    """The known text of ``pvecm nodes``."""
    return "\n" + "\n".join(_membership(view, decimal=True)) + "\n"


def quorum_block(explanation: Explanation) -> str:
    """What stands below the known text: quorum explained."""
    return "\n".join([*_title("Quorum explained"), explanation.sentence]) + "\n"


def _membership(view: ClusterView, *, decimal: bool) -> list[str]:
    device = Flag.QDEVICE_REGISTERED in view.local.flags
    lines = _title("Membership information")
    column = f"{'Qdevice':>10} " if device else ""
    lines.append(f"{'Nodeid':>10} {'Votes':>10} {column}Name")
    for node in view.members:
        number = f"{node.nodeid:>10}" if decimal else f"0x{node.nodeid:08x}"
        flags = f"{_device_flags(node.flags):>10} " if device else ""
        local = " (local)" if node.nodeid == view.local.nodeid else ""
        lines.append(f"{number} {node.votes:>10} {flags}{node.name if decimal else node.address}{local}")
    if device:
        number = f"{0:>10}" if decimal else "0x00000000"
        votes = next((voter.votes for voter in view.configured if voter.name == "Qdevice"), 0)
        lines.append(f"{number} {votes:>10} {'':>10} {view.local.qdevice_name}")
    return lines


def _device_flags(flags: Flag) -> str:
    """A node's sight of the QDevice: alive, voting, master wins; as Corosync abbreviates them."""
    if Flag.QDEVICE_REGISTERED not in flags:
        return "NR"
    return ",".join(
        (
            "A" if Flag.QDEVICE_ALIVE in flags else "NA",
            "V" if Flag.QDEVICE_CAST_VOTE in flags else "NV",
            "MW" if Flag.QDEVICE_MASTER_WINS in flags else "NMW",
        )
    )


def _configured(keys: dict[str, int | float | str | bytes]) -> tuple[dict[int, str], dict[int, int]]:
    names: dict[int, str] = {}
    weights: dict[int, int] = {}
    for key, value in keys.items():
        if key.endswith(".nodeid"):
            stem, nodeid = key.removesuffix(".nodeid"), int(value)
            names[nodeid] = str(keys.get(f"{stem}.name") or keys.get(f"{stem}.ring0_addr") or nodeid)
            weights[nodeid] = int(keys.get(f"{stem}.quorum_votes", 1))
    return names, weights


def _qdevice_votes(votes: Votequorum) -> int:
    try:
        return votes.info(0).qdevice_votes
    except CorosyncNotFound:
        return 0


def _title(text: str) -> list[str]:
    return [text, "-" * len(text)]


def _row(label: str, value: str) -> str:
    return f"{label:<18}{value}"


def _require_cluster() -> None:
    if not Path(Paths.system().corosync / "corosync.conf").exists():
        raise KvorumError(
            "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?"
        )
