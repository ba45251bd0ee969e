"""The node that takes us in, over its API: by root's password or by a join token."""

from __future__ import annotations

from collections.abc import Mapping

from kvorum.cluster.remote import PORT, RemoteNode
from kvorum.core.errors import KvorumError

ADMIT = "/kvorum/cluster/join/admit"
INFORMATION = "/kvorum/cluster/join/information"
WITHDRAW = "/kvorum/cluster/join/withdraw"


class RemotePeer:
    """The peer behind an open connection. Raises as ``RemoteNode`` does."""

    def __init__(
        self, remote: RemoteNode, node: str, parameters: Mapping[str, str], secret: str | None = None
    ) -> None:
        """``secret`` is a join token's; without one the connection is logged in."""
        self._remote, self._node, self._parameters = remote, node, parameters
        self._secret = secret

    async def admit(self) -> dict[str, str]:
        """Ask the peer to take this node in."""
        form = dict(self._parameters)
        if self._secret is None:
            answer = await self._remote.call("POST", f"/cluster/config/nodes/{self._node}", form)
        else:
            form |= {"node": self._node, "secret": self._secret}
            answer = await self._remote.call("POST", ADMIT, form)
        if not isinstance(answer, dict) or not {"corosync_conf", "corosync_authkey"} <= answer.keys():
            raise KvorumError(f"{self._remote.host} did not answer with the cluster's configuration")
        self._secret = str(answer.get("withdrawal") or "") or self._secret
        noted = {"configuration": str(answer["corosync_conf"]), "key": str(answer["corosync_authkey"])}
        return noted | ({"secret": self._secret} if self._secret else {})

    async def withdraw(self) -> None:
        """Have the peer take this node off its list again."""
        if self._secret:
            form = {"node": self._node, "secret": self._secret}
            await self._remote.call("POST", WITHDRAW, form)
        else:
            await self._remote.call("POST", f"/kvorum/cluster/nodes/{self._node}/withdraw")


class NotedPeer:
    """The peer as the journal knows it, after a daemon's end: nobody is logged in there any more."""

    def __init__(self, node: str, notes: Mapping[str, str], port: int = PORT) -> None:
        self._node, self._notes, self._port = node, notes, port

    async def admit(self) -> dict[str, str]:
        """Never done again: a join that was broken off before the peer's answer is undone."""
        raise KvorumError("the join was broken off before the peer had answered")

    async def withdraw(self) -> None:
        """Take this node off the list with the secret that came with the admission."""
        try:
            host, fingerprint = self._notes["host"], self._notes["fingerprint"]
            form = {"node": self._node, "secret": self._notes["secret"]}
        except KeyError:
            raise KvorumError(
                "the peer had not answered yet: join again, or, if this node is listed there, run 'pvecm "
                "delnode' for it on a node of the cluster"
            ) from None
        async with RemoteNode(host, None, fingerprint, port=self._port) as remote:
            await remote.call("POST", WITHDRAW, form)


def peer_of_notes(node: str, notes: Mapping[str, str]) -> NotedPeer:
    """The peer that a broken-off join had."""
    return NotedPeer(node, notes)
