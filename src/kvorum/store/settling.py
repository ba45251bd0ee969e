"""How long a partition must hold the QDevice's vote before it may count on it: D + T, and a pause of ours.

D: the QDevice's timeouts, after which a node that lost it no longer says it has its vote. T: the longest that
Corosync takes to notice that members are gone (token and consensus). Then no other partition's Corosync can
still claim the vote; and a store that stood still for longer than ``PAUSE_SECONDS`` leaves its group.
Defaults are corosync.conf(5)'s and corosync-qdevice(8)'s.
"""

from __future__ import annotations

from pathlib import Path

from kvorum.corosync import Configuration, DocumentError, Section
from kvorum.store.protocol import PAUSE_SECONDS

_TOKEN_MS, _COEFFICIENT_MS = 3000, 650
_DEVICE_MS, _DEVICE_SYNC_MS = 10_000, 30_000


def settle_seconds(config: Path) -> float:
    """D + T + pause for the corosync.conf at ``config``, in seconds; defaults if it can't be read."""
    try:
        return of_configuration(Configuration.read(config.read_text()))
    except (OSError, DocumentError):
        return _sum(_DEVICE_MS + _DEVICE_SYNC_MS, _TOKEN_MS + 30 * _COEFFICIENT_MS, None)


def of_configuration(configuration: Configuration) -> float:
    """D + T + pause, in seconds."""
    quorum = configuration.document.section("quorum")
    device = quorum.section("device") if quorum is not None else None
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


def _sum(held_ms: int, token_ms: int, consensus_ms: int | None) -> float:
    """Corosync's own consensus is 1.2 times the token's timeout unless it is set."""
    notice = token_ms + (consensus_ms if consensus_ms is not None else 1.2 * token_ms)
    return (held_ms + notice) / 1000 + PAUSE_SECONDS


def _milliseconds(section: Section, key: str, default: int) -> int:
    value = section.get(key)
    return int(value) if value is not None and value.isdigit() else default
