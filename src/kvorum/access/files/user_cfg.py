"""user.cfg: users, tokens, groups, pools, roles and the access control list, a line each.

    user:ID:ENABLE:EXPIRE:FIRST:LAST:EMAIL:COMMENT:KEYS:
    token:USER!ID:EXPIRE:PRIVSEP:COMMENT:
    group:ID:USER,USER:COMMENT:
    pool:ID:COMMENT:VMID,VMID:STORAGE,STORAGE:
    role:ID:PRIVILEGE,PRIVILEGE:
    acl:PROPAGATE:PATH:WHO,WHO:ROLE,ROLE:        WHO: user, user!token or @group

Texts are percent-encoded where they hold a colon, a per cent sign or what is not printable ASCII. Nothing
that is not understood is lost: a line of another kind, a broken one or a second one for the same name is
kept as it is (``UserConfig.others``) and grants nothing; further fields stay behind those known. A name that
nobody can have stays in its list and means nobody: for the others in the line it still counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import unquote

from kvorum.access.files import names
from kvorum.core import ids
from kvorum.interface import ROOT

FILE = "user.cfg"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """An API token; its secret lies elsewhere."""

    expire: int = 0
    """Unix seconds; 0: with its user."""
    privsep: bool = True
    """Whether it has only the rights given to itself, and of those only its user's."""
    comment: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """A user, without password."""

    enable: bool = True
    expire: int = 0
    """Unix seconds; 0: never."""
    firstname: str = ""
    lastname: str = ""
    email: str = ""
    comment: str = ""
    keys: str = ""
    tokens: Mapping[str, Token] = field(default_factory=dict)
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Users that are given rights together."""

    users: frozenset[str] = frozenset()
    comment: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """Guests and storages that rights are given on together."""

    comment: str = ""
    vms: frozenset[int] = frozenset()
    storages: frozenset[str] = frozenset()
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """Privileges under a name; those this version does not know are kept and grant nothing."""

    privileges: frozenset[str] = frozenset()
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One entry of the access control list: ``who`` is a user, a token or ``@group``."""

    path: str
    who: str
    role: str
    propagate: bool = True


@dataclass(frozen=True, slots=True)
class UserConfig:
    """All of user.cfg; immutable, edits return a new one."""

    users: Mapping[str, User] = field(default_factory=lambda: MappingProxyType({ROOT: User()}))
    groups: Mapping[str, Group] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Those made by admins; the built-in ones are in ``rights.roles``."""
    grants: frozenset[Grant] = frozenset()
    others: tuple[str, ...] = ()
    """Lines that are not understood, as they are."""

    @classmethod
    def parse(cls, text: str) -> UserConfig:
        """Read the file's text; it never fails. ``root@pam`` is there whatever the file says."""
        return _Reader().read(text)

    def render(self) -> str:
        """The file's text."""
        tokens = [
            _line("token", f"{user}!{name}", t.expire, t.privsep, _encode(t.comment), *t.more)
            for user, u in sorted(self.users.items())
            for name, t in sorted(u.tokens.items())
        ]
        blocks = [
            [_user_line(name, user) for name, user in sorted(self.users.items())] + tokens,
            [_line("group", n, ",".join(sorted(g.users)), _encode(g.comment), *g.more)
             for n, g in sorted(self.groups.items())],
            [_line("pool", n, _encode(p.comment), ",".join(map(str, sorted(p.vms))),
                   ",".join(sorted(p.storages)), *p.more)
             for n, p in sorted(self.pools.items())],
            [_line("role", n, ",".join(sorted(r.privileges)), *r.more)
             for n, r in sorted(self.roles.items())],
            _grant_lines(self.grants),
            list(self.others),
        ]  # fmt: skip
        return "\n".join("".join(f"{line}\n" for line in block) for block in blocks if block)

    def groups_of(self, user: str) -> frozenset[str]:
        """The groups a user is in."""
        return frozenset(name for name, group in self.groups.items() if user in group.users)


def _line(kind: str, *fields: object) -> str:
    return ":".join((kind, *(str(int(f)) if isinstance(f, bool) else str(f) for f in fields), ""))


def _user_line(name: str, user: User) -> str:
    texts = (user.firstname, user.lastname, user.email, user.comment, user.keys)
    return _line("user", name, user.enable, user.expire, *map(_encode, texts), *user.more)


def _grant_lines(grants: Iterable[Grant]) -> list[str]:
    """The list by path; who has the same roles there shares a line."""
    roles: dict[tuple[str, str, bool], list[str]] = {}
    for grant in sorted(grants):
        roles.setdefault((grant.path, grant.who, grant.propagate), []).append(grant.role)
    lines: dict[tuple[str, str, bool], list[str]] = {}
    for (path, who, propagate), held in roles.items():
        lines.setdefault((path, ",".join(held), propagate), []).append(who)
    return [
        _line("acl", propagate, path, ",".join(whos), held)
        for (path, held, propagate), whos in sorted(lines.items())
    ]


def _encode(text: str) -> str:
    return "".join(c if c not in ":%" and 32 <= ord(c) < 127 else _percent(c) for c in text)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))


class _Broken(ValueError):
    """A line that is not understood."""


class _Reader:
    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._tokens: dict[str, dict[str, Token]] = {}
        self._token_lines: dict[tuple[str, str], str] = {}
        self._groups: dict[str, Group] = {}
        self._pools: dict[str, Pool] = {}
        self._roles: dict[str, Role] = {}
        self._grants: set[Grant] = set()
        self._others: list[str] = []

    def read(self, text: str) -> UserConfig:
        for line in text.split("\n"):
            line = line.rstrip("\r")
            if not line.strip():
                continue
            try:
                self._take(line)
            except ValueError:
                self._others.append(line)
        self._users.setdefault(ROOT, User())
        users = {name: self._with_tokens(name, user) for name, user in self._users.items()}
        strays = [line for (user, _), line in self._token_lines.items() if user not in users]
        return UserConfig(
            users, self._groups, self._pools, self._roles, frozenset(self._grants), (*self._others, *strays)
        )

    def _with_tokens(self, name: str, user: User) -> User:
        tokens = self._tokens.get(name, {})
        return User(user.enable, user.expire, user.firstname, user.lastname, user.email, user.comment,
                    user.keys, tokens, user.more)  # fmt: skip

    def _take(self, line: str) -> None:
        """Read one line; raises ``ValueError`` for one that is not understood."""
        kind, *fields = line.split(":")
        if fields and not fields[-1]:
            fields.pop()
        match kind:
            case "user":
                self._user(_Fields(fields))
            case "token":
                self._token(_Fields(fields), line)
            case "group":
                f = _Fields(fields)
                _enter(self._groups, f.name(names.group), Group(f.users(), f.text(), f.rest()))
            case "pool":
                f = _Fields(fields)
                _enter(self._pools, f.name(names.pool), Pool(f.text(), f.vmids(), f.storages(), f.rest()))
            case "role":
                f = _Fields(fields)
                _enter(self._roles, f.name(names.role), Role(frozenset(f.words()), f.rest()))
            case "acl":
                self._acl(_Fields(fields))
            case _:
                raise _Broken(kind)

    def _user(self, f: _Fields) -> None:
        name = f.name(names.user_id)
        user = User(f.flag(True), f.number(), f.text(), f.text(), f.text(), f.text(), f.text(), more=f.rest())
        _enter(self._users, name, user)

    def _token(self, f: _Fields, line: str) -> None:
        user, _, token = f.name(names.token_id).partition("!")
        _enter(self._tokens.setdefault(user, {}), token, Token(f.number(), f.flag(True), f.text(), f.rest()))
        self._token_lines[user, token] = line

    def _acl(self, f: _Fields) -> None:
        propagate, path = f.flag(True), names.acl_path(f.name(str))
        whos, roles = f.words(), f.words()
        if not whos or not roles or f.rest():
            raise _Broken("acl")
        found = {Grant(path, who, role, propagate) for who in whos for role in roles}
        if any(Grant(g.path, g.who, g.role, not propagate) in self._grants for g in found):
            raise _Broken("the same with another propagation")
        self._grants |= found


class _Fields:
    """The fields of a line in their order; those left out are empty."""

    def __init__(self, fields: list[str]) -> None:
        self._fields = fields
        self._next = 0

    def _take(self) -> str:
        self._next += 1
        return self._fields[self._next - 1] if self._next <= len(self._fields) else ""

    def name(self, check: type[str] | object) -> str:
        text = self._take()
        if not text or not callable(check):
            raise _Broken("no name")
        return str(check(text))

    def text(self) -> str:
        raw = self._take()
        return unquote(raw) if "%" in raw else raw

    def words(self) -> tuple[str, ...]:
        return names.each(self._take())

    def users(self) -> frozenset[str]:
        return frozenset(self.words())

    def vmids(self) -> frozenset[int]:
        return frozenset(ids.vmid(word) for word in self.words())

    def storages(self) -> frozenset[str]:
        return frozenset(ids.storage_name(word) for word in self.words())

    def number(self) -> int:
        text = self._take()
        if text and not re.fullmatch(r"[0-9]{1,15}", text):
            raise _Broken(text)
        return int(text or "0")

    def flag(self, default: bool) -> bool:
        text = self._take()
        if text not in ("", "0", "1"):
            raise _Broken(text)
        return default if not text else text == "1"

    def rest(self) -> tuple[str, ...]:
        return tuple(self._fields[self._next :])


def _enter(table: dict[str, T], name: str, value: T) -> None:
    if name in table:
        raise _Broken(f"'{name}' a second time")
    table[name] = value
