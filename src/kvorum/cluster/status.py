"""``pvecm status`` and ``pvecm nodes``: what this node's Corosync knows, asked of it directly.

Works when no daemon of ours runs. Imports little: these commands are typed often.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kvorum.cluster.quorum import Device, Explanation, Rules, Shape, StoreWord, Voter, explain
from kvorum.cluster.watch.counted import link_lines
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.corosync import (
    QDEVICE_NODEID,
    Cfg,
    Cmap,
    CorosyncNotFound,
    Flag,
    Quorum,
    RingId,
    VoteInfo,
    Votequorum,
)

STORE_S = 1.0
"""How long the store is waited for."""
_LINK = re.compile(r"\.ring(\d+)_addr$")

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
    shape: Shape
    """All voters of the configuration, the QDevice and votequorum's options."""
    others: tuple[tuple[int, str], ...] = ()
    """The configured nodes but this one: id and name."""
    links: tuple[int, ...] = ()
    """The numbers of the links that nodes have addresses on."""


def status_text() -> str:
    """What ``pvecm status`` prints. Raises ``KvorumError`` on a node without a cluster, ``CorosyncGone`` when
    corosync does not run."""
    _require_cluster()
    view = look()
    word, ha, refused, warned = store_word(Paths.system().etc_pve)
    shape = replace(view.shape, ha=ha)
    if shape.device is not None and shape.device.host:
        from kvorum.cluster.qdevice.guests import node_of_guest_at

        node = node_of_guest_at(shape.device.host, Paths.system().etc_pve, STORE_S)
        shape = replace(shape, device=replace(shape.device, guest_on=node))
    told = explain_view(replace(view, shape=shape), word)
    blocks = [status_block(view, time.time()), quorum_block(told, [*refused_edits(refused), *warned])]
    if lines := link_lines(view.others, view.links):
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


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
        options = cmap.items("quorum.")
        members = []
        for nodeid in nodeids:
            info = votes.info(nodeid)
            addresses = cfg.addresses(nodeid)
            address = addresses[0] if addresses else ""
            members.append(StatusNode(nodeid, info.votes, names.get(nodeid, address), address, info.flags))
        voters = tuple(Voter(names[n], weights[n], n in nodeids) for n in sorted(names))
        device = _device(options, votes, local)
        links = _links(keys)
        return ClusterView(
            cluster_name=cmap.text("totem.cluster_name"),
            config_version=cmap.text("totem.config_version", "0"),
            transport=cmap.text("totem.transport", "knet"),
            secure_auth=cmap.text("totem.secauth", "off"),
            ring=ring,
            local=local,
            members=tuple(members),
            shape=Shape(voters, device, _rules(options), _expected(local, voters, device), len(links)),
            others=tuple((n, names[n]) for n in sorted(names) if n != local.nodeid),
            links=links,
        )


def explain_view(view: ClusterView, store: StoreWord | None = None) -> Explanation:
    """The quorum explained, as Corosync counts it now; ``store`` is what /etc/pve says of itself."""
    return explain(view.shape, quorate=view.local.quorate, store=store)


def store_word(etc_pve: Path, wait_s: float = STORE_S) -> tuple[StoreWord, bool, dict[str, str], list[str]]:
    """Whether /etc/pve may be changed, whether HA looks after something, which edits were refused where, and
    what nodes warn of.

    A store that hangs does not hold this up.
    """
    read: list[tuple[bytes, bool]] = []
    asking = threading.Thread(target=lambda: read.extend(_ask_store(etc_pve)), daemon=True)
    asking.start()
    asking.join(wait_s)
    if not read:
        return (
            StoreWord(False, "the store does not answer: see 'systemctl status pve-cluster'"),
            False,
            {},
            [],
        )
    members, ha = read[0]
    try:
        cluster = json.loads(members)["cluster"]
        word = StoreWord(bool(cluster["quorate"]), str(cluster.get("reason", "")))
        return word, ha, dict(cluster.get("refused", {})), [str(w) for w in cluster.get("warnings", [])]
    except (ValueError, KeyError, TypeError):
        return StoreWord(False, "the store has not taken up the cluster's configuration yet"), ha, {}, []


def _ask_store(etc_pve: Path) -> list[tuple[bytes, bool]]:
    try:
        members = (etc_pve / ".members").read_bytes()
    except OSError:
        return []
    try:
        return [(members, bool((etc_pve / "ha" / "resources.cfg").read_bytes().strip()))]
    except OSError:
        return [(members, False)]


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


def quorum_block(explanation: Explanation, more: Sequence[str] = ()) -> str:
    """What stands below the known text: quorum explained."""
    return "\n".join([*_title("Quorum explained"), *explanation.sentences, *more]) + "\n"


def refused_edits(refused: Mapping[str, str]) -> list[str]:
    """A sentence for each node's last refused edit of corosync.conf (node name to why)."""
    return [f"{node}: {why}; the cluster keeps the one it has." for node, why in sorted(refused.items())]


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
        votes = view.shape.device.votes if view.shape.device else 0
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


def _device(
    options: dict[str, int | float | str | bytes], votes: Votequorum, local: VoteInfo
) -> Device | None:
    """The QDevice, once corosync-qdevice has registered it, or as the configuration promises it."""
    registered = Flag.QDEVICE_REGISTERED in local.flags
    if not registered and "quorum.device.model" not in options:
        return None
    model = str(options.get("quorum.device.model", "net"))
    promised = int(options.get("quorum.device.votes", 1))
    return Device(
        _qdevice_votes(votes, promised) if registered else promised,
        registered and Flag.QDEVICE_CAST_VOTE in local.flags,
        str(options.get(f"quorum.device.{model}.algorithm", "ffsplit")),
        str(options.get(f"quorum.device.{model}.host", "")),
    )


def _qdevice_votes(votes: Votequorum, promised: int) -> int:
    try:
        return votes.info(QDEVICE_NODEID).qdevice_votes
    except CorosyncNotFound:
        return promised


def _rules(options: dict[str, int | float | str | bytes]) -> Rules:
    def chosen(name: str) -> bool:
        return str(options.get(f"quorum.{name}", "0")) in ("1", "yes")

    two_node = chosen("two_node")
    return Rules(
        two_node,
        chosen("wait_for_all") or (two_node and "quorum.wait_for_all" not in options),
        chosen("last_man_standing"),
        chosen("auto_tie_breaker"),
    )


def _expected(local: VoteInfo, voters: tuple[Voter, ...], device: Device | None) -> int | None:
    """What Corosync expects, where it is not the sum: someone has said ``pvecm expected``."""
    configured = sum(voter.votes for voter in voters) + (device.votes if device else 0)
    return local.expected if local.expected != configured else None


def _links(keys: dict[str, int | float | str | bytes]) -> tuple[int, ...]:
    """The numbers of the links that nodes have addresses on."""
    return tuple(sorted({int(found[1]) for key in keys if (found := _LINK.search(key))}))


def _title(text: str) -> list[str]:
    return [text, "-" * len(text)]


def _row(label: str, value: str) -> str:
    return f"{label:<18}{value}"


def _require_cluster() -> None:
    if not Path(Paths.system().corosync / "corosync.conf").exists():
        raise KvorumError(
            "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?"
        )
