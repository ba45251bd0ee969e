"""Withdrawals that could not be said: a node whose join failed while it did not reach its peer.

It is a node of its own again by then, but its peer may list it, and wait for its votes. So it is kept on disk
what the peer needs to hear, and said again until it is heard.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from kvorum.core import durable
from kvorum.core.errors import AuthenticationError, KvorumError
from kvorum.corosync import Configuration, DocumentError

KEPT_S = 86_400.0
"""How long it is tried; the peer keeps for as long what it knows the node by."""
LATE_S = 150.0
"""How long after its request was sent a node may be listed by it: the peer may have had others before it."""


class Withdraw(Protocol):
    """Says one withdrawal; raises as ``RemoteNode`` does."""

    async def __call__(self, withdrawal: Withdrawal) -> None: ...


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a peer has to be told. Times are Unix seconds."""

    node: str
    host: str
    fingerprint: str
    secret: str
    cluster: str
    """Its cluster's name; empty when it never answered."""
    since: float

    @classmethod
    def of(cls, node: str, notes: Mapping[str, str]) -> Withdrawal | None:
        """What a join's notes say; ``None`` when they don't say enough."""
        try:
            name = Configuration.read(notes["configuration"]).cluster_name if "configuration" in notes else ""
            return cls(node, notes["host"], notes["fingerprint"], notes["secret"], name, time.time())
        except (KeyError, DocumentError):
            return None


class Withdrawals:
    """The list of those still to be said, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Withdrawal]:
        """The list; one that can't be read is empty."""
        try:
            return [Withdrawal(**row) for row in json.loads(self._path.read_text())]
        except (FileNotFoundError, ValueError, TypeError):
            return []

    def add(self, withdrawal: Withdrawal) -> None:
        """Keep one more."""
        self._write([*(one for one in self.read() if one.host != withdrawal.host), withdrawal])

    def forget(self, cluster: str) -> None:
        """A join of this cluster succeeded: nothing is to be withdrawn there any more."""
        self._write([one for one in self.read() if one.cluster not in (cluster, "")])

    async def say(self, withdraw: Withdraw, log: Callable[[str], None]) -> bool:
        """Say each once; whether some are left, to be said again."""
        left = []
        for one in self.read():
            age_s = time.time() - one.since
            try:
                await withdraw(one)
            except AuthenticationError as error:
                if age_s < LATE_S and not one.cluster:
                    left.append(one)  # its request may still be waiting there
                else:
                    log(f"{one.host} knows nothing of a join of this node: {error}")
            except (KvorumError, OSError) as error:
                if age_s < KEPT_S:
                    left.append(one)
                else:
                    log(
                        f"{one.host} may list this node '{one.node}' and could not be told otherwise "
                        f"({error}): run 'pvecm delnode {one.node}' on a node of that cluster"
                    )
            else:
                log(f"{one.host} does not list this node any more")
        self._write(left)
        return bool(left)

    def _write(self, rows: list[Withdrawal]) -> None:
        if rows:
            durable.write(self._path, json.dumps([asdict(row) for row in rows]).encode(), 0o600)
        else:
            durable.remove(self._path)
