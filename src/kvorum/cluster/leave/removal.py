"""Takes a node out of the store in one transaction: the list, its folder, and what names it elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kvorum.cluster import join_token
from kvorum.cluster.certificates import CertificateError, fingerprint
from kvorum.cluster.change import CONFIGURATION
from kvorum.cluster.join_token import Tokens
from kvorum.cluster.leave import removed
from kvorum.cluster.leave.removed import Removed
from kvorum.cluster.leave.traces import FILES, Names, cleaned
from kvorum.cluster.qdevice.device import misfit
from kvorum.cluster.relink import under_way
from kvorum.core.errors import Conflict
from kvorum.corosync import Configuration
from kvorum.store import Delete, Expect, Operation, Store, Write

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Removal:
    """What to do to the store, what it must be like, and what to say."""

    configuration: Configuration | None
    """The cluster's, without the node; ``None`` for the last one, with which the cluster ends."""
    operations: tuple[Operation, ...]
    expect: tuple[Expect, ...]
    notes: tuple[str, ...]


def draft(store: Store, node: str, who: str, now: float) -> Removal | None:
    """The removal of a node as the store is now; ``None`` when it isn't listed."""
    file = store.read(CONFIGURATION)
    if file is None:
        return None
    old = Configuration.read(file.text)
    listed = old.node(node)
    if listed is None:
        return None
    new = old.without_node(node).bumped() if len(old.nodes) > 1 else None
    operations: list[Operation] = [Write(CONFIGURATION, new.text.encode()) if new else Delete(CONFIGURATION)]
    expect = [Expect.of(file)]
    notes: list[str] = []
    names = Names(node, frozenset(listed.addresses.values()))
    for path in FILES if new else ():
        found = store.read(path)
        if found is None:
            continue
        text, said = cleaned(path, found.text, names)
        if text != found.text:
            operations.append(Write(path, text.encode()))
            expect.append(Expect.of(found))
            notes += said
    if new is not None:
        operations += _remembered(store, node, who, now, expect)
        operations += _tokens_forgotten(store, node, expect)
        operations += _not_awaited(store, node, expect)
        operations += _emptied(store, f"nodes/{node}")
        lock = f"priv/lock/ha_agent_{node}_lock"
        if lock.rpartition("/")[2] in store.names("priv/lock"):
            operations.append(Delete(lock))
    if new is not None and (sentence := misfit(new)):
        notes.append(sentence)
    return Removal(new, tuple(operations), tuple(expect), tuple(notes))


async def remove(store: Store, node: str, who: str, guests: tuple[str, ...] = ()) -> Removal | None:
    """Carry it out, looking again when something changed meanwhile; ``None`` when it isn't listed.

    ``guests`` are those that go with the node; raises ``Conflict`` when others have come, and as
    ``Store.transact`` does.
    """
    for attempt in range(_ATTEMPTS):
        if more := [vmid for vmid in guests_of(store, node) if vmid not in guests]:
            last = store.read(CONFIGURATION)
            if last is None or len(Configuration.read(last.text).nodes) > 1:
                raise Conflict(f"VM {', '.join(more)} came to node '{node}' meanwhile: nothing was changed")
        removal = draft(store, node, who, time.time())
        if removal is None:
            return None
        try:
            await store.transact(removal.operations, removal.expect, who=who)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return removal
    return None


def guests_of(store: Store, node: str) -> tuple[str, ...]:
    """The vmids whose configurations lie in a node's folder."""
    found = [
        name.removesuffix(".conf")
        for kind in ("qemu-server", "lxc")
        for name in store.names(f"nodes/{node}/{kind}")
        if name.endswith(".conf")
    ]
    return tuple(sorted(found, key=lambda vmid: (len(vmid), vmid)))


def own_fingerprint(store: Store, node: str) -> str:
    """The fingerprint of a node's certificate for other nodes; empty when it has none yet."""
    file = store.read(f"nodes/{node}/pve-ssl.pem")
    try:
        return fingerprint(file.data) if file else ""
    except CertificateError:
        return ""


def _remembered(store: Store, node: str, who: str, now: float, expect: list[Expect]) -> list[Operation]:
    known = own_fingerprint(store, node)
    if not known:
        return []  # its join never ended: there is nothing that could come back
    file = store.read(removed.FILE)
    expect.append(Expect.of(file) if file else Expect(removed.FILE, None))
    text = removed.added(file.text if file else "[]", Removed(node, known, int(now), who))
    return [Write(removed.FILE, text.encode())]


def _tokens_forgotten(store: Store, node: str, expect: list[Expect]) -> list[Operation]:
    """Those that it came with: nobody of its name may take it off the list again.

    A node whose join never ended keeps its own, to try again with.
    """
    file = store.read(join_token.FILE)
    if file is None or not own_fingerprint(store, node):
        return []
    before = Tokens.read(file.text)
    after = before.without_node(node)
    if after == before:
        return []
    expect.append(Expect.of(file))
    return [Write(join_token.FILE, after.text().encode())]


def _not_awaited(store: Store, node: str, expect: list[Expect]) -> list[Operation]:
    """No change of the node's address goes on that would list it again."""
    file = store.read(under_way.FILE)
    try:
        aside = under_way.UnderWay.read(file.text).change.aside if file is not None else ""
    except ValueError:
        return []
    if file is None or aside != node:
        return []
    expect.append(Expect.of(file))
    return [Delete(under_way.FILE)]


def _emptied(store: Store, path: str) -> list[Operation]:
    """Deletes all below a directory, and it, the deepest first."""
    operations: list[Operation] = []
    for name in store.names(path):
        below = f"{path}/{name}"
        operations += [Delete(below)] if store.read(below) is not None else _emptied(store, below)
    if path.rpartition("/")[2] in store.names(path.rpartition("/")[0]):
        operations.append(Delete(path))
    return operations
