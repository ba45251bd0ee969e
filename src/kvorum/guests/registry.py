"""Guests' configurations in the store: where they lie, read and changed under their version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kvorum.core.errors import Conflict
from kvorum.core.remembered import RememberedEach
from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.store import Delete, Expect, File, Store, Write, expect_digest

_NAME = re.compile(r"(\d+)\.conf")
_PATH = re.compile(r"nodes/([^/]+)/qemu-server/(\d+)\.conf")


def config_path(node: str, vmid: int) -> str:
    """The path of a guest's configuration on a node."""
    return f"nodes/{node}/qemu-server/{vmid}.conf"


def owners(guests: Mapping[str, str]) -> dict[int, str]:
    """Every VM id and its node, sorted by id, from ``Store.guests``."""
    found = {int(match[2]): match[1] for path in guests.values() if (match := _PATH.fullmatch(path))}
    return dict(sorted(found.items()))


class Registry:
    """The configurations of one node's guests."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._parsed: RememberedEach[int, File, GuestConfig] = RememberedEach(
            lambda vmid, file: GuestConfig.parse(vmid, file.text, file.path)
        )

    def path(self, vmid: int) -> str:
        """The path of a guest's configuration on this node."""
        return config_path(self.store.node, vmid)

    def owner(self, vmid: int) -> str | None:
        """The node that owns a guest, ``None`` when the id is free."""
        for node in self.store.names("nodes"):
            if self.store.read(config_path(node, vmid)) is not None:
                return node
        return None

    def vmids(self) -> list[int]:
        """The guests of this node, sorted."""
        names = self.store.names(f"nodes/{self.store.node}/qemu-server")
        vmids = sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))
        self._parsed.keep_only(frozenset(vmids))
        return vmids

    def file(self, vmid: int) -> File:
        """A guest's file; raises ``GuestError`` when this node has no such guest."""
        path = self.path(vmid)
        file = self.store.read(path)
        if file is None:
            raise GuestError(f"Configuration file '{path}' does not exist")
        return file

    def check_digest(self, vmid: int, digest: str | None) -> None:
        """Raise ``Conflict`` when the caller saw another configuration than the present one."""
        if digest:
            file = self.file(vmid)
            expect_digest(file, file.path, digest)

    def config(self, vmid: int) -> GuestConfig:
        """A guest's configuration; raises ``GuestError`` or ``GuestConfigError``.

        It is parsed once for each content: all guests are looked at again and again.
        """
        return self._parsed.of(vmid, self.file(vmid))

    async def create(self, config: GuestConfig, who: str) -> None:
        """Write a new guest's configuration; raises ``Conflict`` when the id is used anywhere."""
        if owner := self.owner(config.vmid):
            raise Conflict(f"VM {config.vmid} already exists on node '{owner}'")
        path = self.path(config.vmid)
        await self.store.transact(
            [Write(path, config.document.render().encode())], [Expect(path, None)], who=who
        )

    async def edit(
        self,
        vmid: int,
        changes: Mapping[str, str],
        delete: frozenset[str] = frozenset(),
        *,
        who: str,
        digest: str = "",
    ) -> GuestConfig:
        """Change settings in one step, if nobody else did meanwhile; raises ``Conflict`` otherwise."""
        file = self.file(vmid)
        config = GuestConfig.parse(vmid, file.text, file.path).edit(changes, delete)
        expect = expect_digest(file, file.path, digest) if digest else Expect(file.path, file.version)
        await self.store.transact([Write(file.path, config.document.render().encode())], [expect], who=who)
        return config

    async def replace(self, before: GuestConfig, after: GuestConfig, *, who: str, digest: str = "") -> None:
        """Write a changed configuration, if it is still as ``before``; raises ``Conflict`` otherwise."""
        file = self.file(before.vmid)
        expect = expect_digest(file, file.path, digest) if digest else Expect(file.path, file.version)
        if file.text != before.document.render():
            raise Conflict(f"'{file.path}' was changed by somebody else meanwhile; try again")
        await self.store.transact([Write(file.path, after.document.render().encode())], [expect], who=who)

    async def remove(self, vmid: int, who: str) -> None:
        """Remove a guest's configuration."""
        file = self.file(vmid)
        await self.store.transact([Delete(file.path)], [Expect(file.path, file.version)], who=who)
