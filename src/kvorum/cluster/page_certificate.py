"""The page's certificate over a join (W9): browsers go on with the one they know, until the admin switches.

An admin's own (``pveproxy-ssl``) comes along as it is. Else the page goes on showing what it showed before,
kept as ``former-ssl`` in the node's folder, until ``take`` removes it. Other nodes see neither: they are
shown ``pve-ssl``, which the cluster's CA signs.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvorum.store import Delete, Expect, Operation, Store, Write

OWN = "pveproxy-ssl"
FORMER = "former-ssl"
NODE = "pve-ssl"


def shown(store: Store, node: str) -> str:
    """Which certificate the page of a node shows: ``OWN``, ``FORMER`` or ``NODE``."""
    names = store.names(f"nodes/{node}")
    for name in (OWN, FORMER):
        if {f"{name}.pem", f"{name}.key"} <= set(names):
            return name
    return NODE


def page_certificate(store: Store) -> dict[str, str]:
    """What a join notes of the page's certificate, to bring it along."""
    name = shown(store, store.node)
    files = [store.read(f"nodes/{store.node}/{name}.{end}") for end in ("pem", "key")]
    if files[0] is None or files[1] is None:
        return {}
    kept = OWN if name == OWN else FORMER
    return {"page": kept, "page_pem": files[0].text, "page_key": files[1].text}


async def keep_page_certificate(store: Store, notes: Mapping[str, str]) -> None:
    """Put what was noted into this node's folder. Raises as ``Store.transact`` does."""
    if "page" not in notes:
        return
    path = f"nodes/{store.node}/{notes['page']}"
    if store.read(f"{path}.pem") is None:
        await store.transact(
            [
                Write(f"{path}.key", notes["page_key"].encode()),
                Write(f"{path}.pem", notes["page_pem"].encode()),
            ],
            who="kvorum: the page's certificate",
        )


async def take(store: Store, node: str, who: str) -> bool:
    """Have a node's page show the cluster's certificate; returns whether it showed a former one.

    Raises as ``Store.transact`` does.
    """
    files = [store.read(f"nodes/{node}/{FORMER}.{end}") for end in ("pem", "key")]
    found = [file for file in files if file is not None]
    operations: list[Operation] = [Delete(file.path) for file in found]
    if operations:
        await store.transact(operations, [Expect.of(file) for file in found], who=who)
    return bool(operations)
