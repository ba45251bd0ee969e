"""The one change of the store that renames a node: the list, its folder, its certificate, what names it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kvorum.cluster.change import CONFIGURATION
from kvorum.cluster.node_files import new_node_certificate
from kvorum.cluster.rename.names import FILES, FORMER, Former, renamed, with_former
from kvorum.core.errors import Conflict
from kvorum.corosync import Configuration
from kvorum.store import Delete, Expect, MakeDirectory, Operation, Rename, Store, Write

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """What to do to the store, and what it must be like."""

    configuration: str
    """corosync.conf's text from then on; empty on a node alone."""
    operations: tuple[Operation, ...]
    expect: tuple[Expect, ...]


def draft(
    store: Store, old: str, new: str, who: str, now: float, addresses: Sequence[str], fqdn: str
) -> Draft:
    """The renaming as the store is now; raises ``Conflict`` when the node is not listed any more."""
    operations: list[Operation] = []
    expect: list[Expect] = []
    file, text = store.read(CONFIGURATION), ""
    if file is not None:
        listed = Configuration.read(file.text)
        if listed.node(old) is None:
            raise Conflict(f"the cluster has no node '{old}' any more")
        text = listed.renamed(old, new).bumped().text
        operations.append(Write(CONFIGURATION, text.encode()))
        expect.append(Expect.of(file))
    for path in FILES:
        found = store.read(path)
        if found is None:
            continue
        changed = renamed(path, found.text, old, new)
        if changed != found.text:
            operations.append(Write(path, changed.encode()))
            expect.append(Expect.of(found))
    former = store.read(FORMER)
    line = with_former(former.text if former else "[]", Former(old, new, int(now), who))
    operations.append(Write(FORMER, line.encode()))
    expect.append(Expect.of(former) if former else Expect(FORMER, None))
    pair = new_node_certificate(store, new, addresses, fqdn)
    made = {"pve-ssl.pem": pair.certificate, "pve-ssl.key": pair.key} if pair else {}
    operations += _moved(store, f"nodes/{old}", f"nodes/{new}", made, expect)
    operations += [Write(f"nodes/{new}/{name}", data) for name, data in made.items()]
    lock = f"ha_agent_{old}_lock"
    if lock in store.names("priv/lock"):
        operations.append(Rename(f"priv/lock/{lock}", f"priv/lock/ha_agent_{new}_lock"))
    return Draft(text, tuple(operations), tuple(expect))


async def rename(store: Store, old: str, new: str, who: str, addresses: Sequence[str], fqdn: str) -> Draft:
    """Carry it out, looking again when something changed meanwhile; raises as ``Store.transact`` does."""
    for _ in range(_ATTEMPTS - 1):
        made = draft(store, old, new, who, time.time(), addresses, fqdn)
        try:
            await store.transact(made.operations, made.expect, who=who)
        except Conflict:
            continue
        return made
    made = draft(store, old, new, who, time.time(), addresses, fqdn)
    await store.transact(made.operations, made.expect, who=who)
    return made


def _moved(
    store: Store, source: str, target: str, anew: dict[str, bytes], expect: list[Expect]
) -> list[Operation]:
    """All below a folder into another one; its files keep their content and time."""
    operations: list[Operation] = [MakeDirectory(target)]
    for name in store.names(source):
        file = store.read(f"{source}/{name}")
        if file is None:
            operations += _moved(store, f"{source}/{name}", f"{target}/{name}", {}, expect)
        elif name in anew:
            operations.append(Delete(file.path))
        else:
            operations.append(Rename(file.path, f"{target}/{name}"))
            expect.append(Expect.of(file))
    return [*operations, Delete(source)]
