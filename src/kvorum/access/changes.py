"""Changes of the files of this room: read, edited and written in one step of the store.

def edit(files: Draft) -> None:
    files.users = add_user(files.users, …)

await change(store, edit, who="root@pam")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kvorum.access.edits import add_members
from kvorum.access.files import domains_cfg, secrets_cfg, tfa_cfg, user_cfg
from kvorum.access.files.domains_cfg import RealmConfig
from kvorum.access.files.secrets_cfg import Shadow, TokenSecrets
from kvorum.access.files.tfa_cfg import TfaConfig
from kvorum.access.files.user_cfg import UserConfig
from kvorum.core.errors import Conflict
from kvorum.store import Expect, Store, Write, expect_digest

ATTEMPTS = 8
"""Somebody else's change in between costs one; then the caller is told."""

T = TypeVar("T")


@dataclass(slots=True)
class Draft:
    """The files as they are to be; each attribute may be replaced."""

    users: UserConfig
    realms: RealmConfig
    passwords: Shadow
    tokens: TokenSecrets
    factors: TfaConfig


def read_users(store: Store) -> UserConfig:
    """user.cfg as it is now."""
    return UserConfig.parse(_text(store, user_cfg.FILE))


def read_realms(store: Store) -> RealmConfig:
    """domains.cfg as it is now."""
    return RealmConfig.parse(_text(store, domains_cfg.FILE))


def read_factors(store: Store) -> TfaConfig:
    """tfa.cfg as it is now; raises ``KvorumError`` when it can't be read. Seen by root's daemons only."""
    return TfaConfig.parse(_text(store, tfa_cfg.FILE))


async def change(
    store: Store, edit: Callable[[Draft], T], *, who: str, digest: str | None = None, path: str = ""
) -> T:
    """Carry ``edit`` out on the present files and write what it changed, all or nothing.

    With ``digest`` only if the file at ``path`` still has that SHA-1. Raises what ``edit`` raises, and as
    ``Store.transact``; ``Conflict`` also when others keep changing the same files.
    """
    for attempt in range(ATTEMPTS):
        expected = [expect_digest(store.read(path), path, digest)] if digest else []
        files = {name: store.read(name) for name in _PATHS}
        draft = Draft(
            UserConfig.parse(_text(store, user_cfg.FILE)),
            read_realms(store),
            Shadow.parse(_text(store, secrets_cfg.SHADOW)),
            TokenSecrets.parse(_text(store, secrets_cfg.TOKENS)),
            read_factors(store),
        )
        before = _parts(draft)
        result = edit(draft)
        writes = [
            Write(name, new.render().encode())
            for name, old, new in zip(_PATHS, before, _parts(draft), strict=True)
            if new is not old
        ]
        if not writes:
            return result
        expected += [
            Expect.of(file) if file is not None else Expect(name, None)
            for name, file in files.items()
            if name != path or not digest
        ]
        try:
            await store.transact(writes, expected, who=who)
            return result
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


class _Rendered(Protocol):
    def render(self) -> str: ...


_PATHS = (user_cfg.FILE, domains_cfg.FILE, secrets_cfg.SHADOW, secrets_cfg.TOKENS, tfa_cfg.FILE)


def _parts(draft: Draft) -> tuple[_Rendered, ...]:
    return draft.users, draft.realms, draft.passwords, draft.tokens, draft.factors


def _text(store: Store, path: str) -> str:
    file = store.read(path)
    return file.text if file is not None else ""


async def put_in_pool(store: Store, pool: str, vmid: int, *, who: str) -> None:
    """Make a guest a member of a pool; raises ``KvorumError`` when there is no such pool, or it is in one."""

    def edit(draft: Draft) -> None:
        draft.users = add_members(draft.users, pool, (vmid,), ())

    await change(store, edit, who=who)
