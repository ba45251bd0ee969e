"""The room's methods on a store in memory: called as the daemons call them, by identity and parameters."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from kvorum.access import (
    AccessAuthority,
    AuditLog,
    Authentication,
    GeneratedPassword,
    Keys,
    PveRealm,
    Realms,
    SecondFactor,
    Throttle,
)
from kvorum.interface import Caller, Identity, Pairs, Router, Services, plain
from kvorum.node.resource_rows import ResourceRows
from kvorum.server import rooms
from kvorum.store.memory import MemoryStore

ROOT = Identity("root@pam", address="192.0.2.1")
PASSWORD = "the-password"


class Clock:
    """Time as the test sets it."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """One node."""

    def __init__(self, store: MemoryStore, audit: Path | None = None) -> None:
        self.store = store
        self.clock = Clock()
        self.authority = AccessAuthority(store, self.clock)
        self.authentication = Authentication(Keys(store), self.authority, self.clock)
        self.factor = SecondFactor(store, self.clock)
        services = Services()
        services.add(Authentication, self.authentication)
        services.add(AccessAuthority, self.authority)
        services.add(Realms, Realms([GeneratedPassword(PASSWORD), PveRealm(store)]))
        services.add(SecondFactor, self.factor)
        services.add(ResourceRows, ResourceRows(store))
        services.add(Throttle, Throttle(first_delay_s=0.0))
        self.router = Router(rooms.methods())
        self.caller = Caller(
            store, services, self.authority, auditor=AuditLog(audit, self.clock) if audit else None
        )

    async def call(
        self, verb: str, path: str, who: Identity | None = ROOT, /, **parameters: object
    ) -> object:
        """Call a method; dashes in parameters are written as underscores twice."""
        given: Pairs = [(name.replace("__", "-"), str(value)) for name, value in parameters.items()]
        match = self.router.match(verb, quote(path))
        self.caller.authorise(match, who, given)
        return plain(await self.caller.call(match, who, given))

    async def login(self, user: str, password: str, **more: object) -> dict[str, object]:
        """Log in, from nowhere."""
        answer = await self.call(
            "POST", "/access/ticket", Identity("nobody@none", address="192.0.2.9"),
            username=user, password=password, **more,
        )  # fmt: skip
        assert isinstance(answer, dict)
        return answer
