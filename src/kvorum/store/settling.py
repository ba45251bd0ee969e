"""How long a partition must hold the QDevice's vote before it may count on it.

In general D + T and a pause of ours. D: the QDevice's timeouts, after which a node that lost its vote says
so. T: the longest that Corosync takes to notice that members are gone (token and consensus). Then no other
partition's Corosync can still claim the vote; and a store that stood still for longer than ``PAUSE_SECONDS``
leaves its group. Defaults are corosync.conf(5)'s and corosync-qdevice(8)'s.

Where QNetd works by ffsplit, and Corosync said that the vote is for the ring of now: the time in which QNetd
gives a silent node up. ffsplit gives the vote to one partition only when every connected node of the others
was told No for its ring and has answered; who is not connected says No by itself before it is given the vote
again. So another partition had its moment without quorum, after which it does not go on alone
(``protocol.views``), but for a node whose ring changed while its No was under way: of it QNetd hears within
that time, or gives it up. docs/design/qdevice.md has where this was seen.
"""

from __future__ import annotations

from pathlib import Path

from kvorum.corosync import Configuration, DocumentError, Section
from kvorum.store.protocol import PAUSE_SECONDS

_TOKEN_MS, _COEFFICIENT_MS = 3000, 650
_DEVICE_MS, _DEVICE_SYNC_MS = 10_000, 30_000
_GIVEN_UP = 1.5 * 0.8
"""QNetd gives a node up after 1.5 of its heartbeats, which are 0.8 of the QDevice's timeout."""


def settle_seconds(config: Path, said: bool = False) -> float:
    """For the corosync.conf at ``config``, in seconds; defaults if it can't be read.

    ``said``: Corosync said that the vote is for the ring of now.
    """
    try:
        return of_configuration(Configuration.read(config.read_text()), said)
    except (OSError, DocumentError):
        return _sum(_DEVICE_MS + _DEVICE_SYNC_MS, _TOKEN_MS + 30 * _COEFFICIENT_MS, None)


def of_configuration(configuration: Configuration, said: bool = False) -> float:
    """The same, in seconds."""
    quorum = configuration.document.section("quorum")
    device = quorum.section("device") if quorum is not None else None
    if device is not None and said and _by_ffsplit(device):
        return _GIVEN_UP * _milliseconds(device, "timeout", _DEVICE_MS) / 1000
    held = _DEVICE_MS + _DEVICE_SYNC_MS
    if device is not None:
        held = _milliseconds(device, "timeout", _DEVICE_MS) + _milliseconds(
            device, "sync_timeout", _DEVICE_SYNC_MS
        )
    totem = configuration.totem
    coefficient = _milliseconds(totem, "token_coefficient", _COEFFICIENT_MS)
    beyond_two = max(0, len(configuration.nodes) - 2)
    token = _milliseconds(totem, "token", _TOKEN_MS) + beyond_two * coefficient
    consensus = _milliseconds(totem, "consensus", 0)
    return _sum(held, token, consensus or None)


def _by_ffsplit(device: Section) -> bool:
    net = device.section("net")
    return device.get("model") == "net" and net is not None and net.get("algorithm") == "ffsplit"


def _sum(held_ms: int, token_ms: int, consensus_ms: int | None) -> float:
    """Corosync's own consensus is 1.2 times the token's timeout unless it is set."""
    notice = token_ms + (consensus_ms if consensus_ms is not None else 1.2 * token_ms)
    return (held_ms + notice) / 1000 + PAUSE_SECONDS


def _milliseconds(section: Section, key: str, default: int) -> int:
    value = section.get(key)
    return int(value) if value is not None and value.isdigit() else default
