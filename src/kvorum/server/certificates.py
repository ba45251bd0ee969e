"""The certificates this node shows and trusts, as the store has them; a changed file counts at once.

Keys go from the store's memory into OpenSSL without touching a disk.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence

from kvorum.core.errors import KvorumError
from kvorum.server.listed import listed_nodes
from kvorum.store import File, Store

log = logging.getLogger(__name__)

PAGE = ("pveproxy-ssl", "former-ssl")
"""What the page shows before the node's own, the first that is there."""


class Certificates:
    """Makes TLS contexts, one for each version of the files they stand on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, tuple[tuple[tuple[str, bytes], ...], ssl.SSLContext]] = {}
        self._shown: ssl.SSLContext | None = None

    def page(self) -> ssl.SSLContext:
        """What the page's visitors see: ``pveproxy-ssl.pem``, else what it showed before this node joined a
        cluster (until the admin switches), else the node's own certificate.

        While the store is another (in a join, or a leave) and has none of these yet, what was shown last.
        Raises ``KvorumError`` when there is none at all.
        """
        for name in PAGE:
            path = f"nodes/{self._store.node}/{name}"
            own = [self._store.read(f"{path}.{end}") for end in ("pem", "key")]
            if own[0] is not None and own[1] is not None:
                try:
                    self._shown = self._server(name, [own[0], own[1]])
                    return self._shown
                except ssl.SSLError:
                    continue  # an unusable certificate must not close the page that could replace it
        try:
            self._shown = self.node()
        except KvorumError:
            if self._shown is None:
                raise
        return self._shown

    def node(self) -> ssl.SSLContext:
        """What other nodes see: the node's certificate by the cluster's CA; raises as ``page`` does."""
        return self._server("node", self._node_files())

    def client(self) -> ssl.SSLContext:
        """What this node shows to other nodes. It trusts the very certificates of the nodes that are listed
        now, not all that the cluster's CA ever signed: a node that was removed is a stranger at once.

        Raises as ``page`` does.
        """
        own = self._node_files()
        listed = [
            file
            for node in listed_nodes(self._store)
            if (file := self._store.read(f"nodes/{node}/pve-ssl.pem")) is not None
        ]
        files = [*own, *listed]
        made = self._made.get("client")
        if made is None or made[0] != _state(files):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the ends themselves are what is trusted
            for file in listed:
                context.load_verify_locations(cadata=file.text)
            _load(context, own[0], own[1])
            made = self._made["client"] = (_state(files), context)
        return made[1]

    def listening(self) -> ssl.SSLContext:
        """The context to listen with: it picks the certificate anew for each connection, by its server name.

        Raises ``KvorumError`` when there is no certificate yet.
        """
        self.page()
        context = _server_context()
        name_of_node = f"{self._store.node}.nodes.kvorum"

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            try:
                connection.context = self.node() if name == name_of_node else self.page()
            except KvorumError as error:  # a node that joins just now, or whose files were taken away
                log.info("a connection is refused: %s", error)
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            return None

        context.sni_callback = choose
        return context

    def _node_files(self) -> list[File]:
        directory = f"nodes/{self._store.node}"
        files = [self._store.read(f"{directory}/pve-ssl.{end}") for end in ("pem", "key")]
        found = [file for file in files if file is not None]
        if len(found) < 2:
            raise KvorumError(f"'{directory}/pve-ssl.pem' or .key is missing: no certificate is made yet")
        return found

    def _server(self, kind: str, files: Sequence[File]) -> ssl.SSLContext:
        made = self._made.get(kind)
        if made is None or made[0] != _state(files):
            context = _server_context()
            _load(context, files[0], files[1])
            made = self._made[kind] = (_state(files), context)
        return made[1]


def _state(files: Sequence[File]) -> tuple[tuple[str, bytes], ...]:
    """What a context stands on. Not versions: after a join another store has other files under the same."""
    return tuple((file.path, file.data) for file in files)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, certificate: File, key: File) -> None:
    """Load both from memory: OpenSSL wants a file, and a memfd is one that no disk ever sees."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate.data + b"\n" + key.data)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
