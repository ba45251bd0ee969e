"""How a daemon calls another node's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Peers(ABC):
    """The other nodes of the cluster, reached over mTLS with this node's ticket."""

    @abstractmethod
    async def call(
        self,
        node: str,
        verb: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
    ) -> object:
        """Call ``verb path`` (without ``/api2/json``) on a node and return the answer's ``data``.

        ``timeout`` is in seconds. The local node may be named too. Raises the ``KvorumError`` the other
        node answered with (its sentence and code), ``Unreachable``, or ``DeadlineExceeded``.
        """
