"""What a node needs in the store before it can serve: keys, certificates and first configuration files."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Sequence

import psutil

from kvorum.cluster import certificates
from kvorum.cluster.certificates import Pair
from kvorum.cluster.page_certificate import shown
from kvorum.core.errors import Conflict
from kvorum.core.paths import Paths
from kvorum.store import Expect, MakeDirectory, Operation, Store, Write

CA = "pve-root-ca.pem"
CA_KEY = "priv/pve-root-ca.key"
AUTHKEY = "priv/authkey.key"
AUTHKEY_PUBLIC = "authkey.pub"
WWW_KEY = "pve-www.key"
_ATTEMPTS = 5

_STORAGE = "dir: local\n\tpath {}\n\tcontent iso,vztmpl,backup,images,import,snippets\n"
_USERS = "user:root@pam:1:0:::::::\n"


async def ensure_node_files(
    store: Store, paths: Paths, *, addresses: Sequence[str] | None = None, fqdn: str | None = None
) -> bool:
    """Make what is missing, and renew this node's certificate if it no longer serves; return if anything was.

    Idempotent. Two nodes doing it at once end with one authority: each write expects that there is none.
    Raises ``NoQuorum`` when nothing may be changed, ``Conflict`` when the store changed at every attempt.
    """
    here = list(addresses) if addresses is not None else local_addresses()
    name = fqdn if fqdn is not None else _fqdn(store.node)
    for attempt in range(_ATTEMPTS):
        operations, expect = _missing(store, paths, here, name)
        if not operations:
            return attempt > 0
        try:
            await store.transact(operations, expect, who="kvorum: node files")
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return True
    return False


def new_node_certificate(store: Store, node: str, addresses: Sequence[str], fqdn: str) -> Pair | None:
    """A certificate of the cluster's authority for a node by another name; ``None`` without an authority."""
    certificate, key = store.read(CA), store.read(CA_KEY)
    if certificate is None or key is None:
        return None
    return certificates.make_node(Pair(certificate.data, key.data), node, fqdn, addresses, _now())


def trusting_nodes(store: Store) -> ssl.SSLContext | None:
    """Takes the listed nodes' own certificates for other nodes, and nothing else that the authority signed.

    ``None`` while there is none. A removed node's is no longer among them.
    """
    files = [store.read(f"nodes/{member.name}/pve-ssl.pem") for member in store.membership.members]
    texts = [file.text for file in files if file is not None]
    if not texts:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for text in texts:
        context.load_verify_locations(cadata=text)
    return context


def local_addresses() -> list[str]:
    """This node's own addresses, without loopback and link-local ones."""
    found = []
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(entry.address.partition("%")[0])
            if not (address.is_loopback or address.is_link_local):
                found.append(str(address))
    return sorted(dict.fromkeys(found))


def node_fingerprint(store: Store, node: str) -> str:
    """The SHA-256 fingerprint of the certificate that a node's page shows; empty when there is none yet."""
    file = store.read(f"nodes/{node}/{shown(store, node)}.pem")
    return certificates.fingerprint(file.data) if file else ""


class _Draft:
    """Operations to make what is missing, with the expectation that it still is."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.operations: list[Operation] = []
        self.expect: list[Expect] = []

    def write(self, path: str, data: bytes) -> None:
        file = self.store.read(path)
        self.operations.append(Write(path, data))
        self.expect.append(Expect(path, file.version if file else None))


def _missing(
    store: Store, paths: Paths, addresses: Sequence[str], fqdn: str
) -> tuple[list[Operation], list[Expect]]:
    draft = _Draft(store)
    authority = _authority(draft)
    _node_certificate(draft, authority, addresses, fqdn)
    private = store.read(AUTHKEY)
    if private is None:
        pair = certificates.make_rsa()
        draft.write(AUTHKEY, pair.key)
        draft.write(AUTHKEY_PUBLIC, pair.certificate)
    elif store.read(AUTHKEY_PUBLIC) is None:
        draft.write(AUTHKEY_PUBLIC, certificates.public_of(private.data))
    if store.read(WWW_KEY) is None:
        draft.write(WWW_KEY, secrets.token_urlsafe(48).encode() + b"\n")
    if store.read("storage.cfg") is None:
        local = "/var/lib/vz" if paths == Paths.system() else str(paths.state / "vz")
        draft.write("storage.cfg", _STORAGE.format(local).encode())
    if store.read("user.cfg") is None:
        draft.write("user.cfg", _USERS.encode())
    own = store.names(f"nodes/{store.node}")
    if "qemu-server" not in own:
        draft.operations.append(MakeDirectory(f"nodes/{store.node}/qemu-server"))
    return draft.operations, draft.expect


def _authority(draft: _Draft) -> Pair:
    certificate, key = draft.store.read(CA), draft.store.read(CA_KEY)
    if certificate is not None and key is not None:
        return Pair(certificate.data, key.data)
    made = certificates.make_authority(_now())
    draft.write(CA, made.certificate)
    draft.write(CA_KEY, made.key)
    return made


def _node_certificate(draft: _Draft, authority: Pair, addresses: Sequence[str], fqdn: str) -> None:
    node = draft.store.node
    path = f"nodes/{node}/pve-ssl"
    certificate, key = draft.store.read(f"{path}.pem"), draft.store.read(f"{path}.key")
    if certificate is not None and key is not None:
        pair = Pair(certificate.data, key.data)
        if certificates.serves(pair, authority.certificate, node, addresses, _now()):
            return
    made = certificates.make_node(authority, node, fqdn, addresses, _now())
    draft.write(f"{path}.key", made.key)
    draft.write(f"{path}.pem", made.certificate)


def _fqdn(node: str) -> str:
    name = socket.getfqdn()
    return name if name.partition(".")[0] == node else node


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
