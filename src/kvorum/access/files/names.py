"""What users, groups, roles, pools and realms may be called. Each function returns the name or raises
``ValueError`` with a sentence."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from kvorum.interface import split_list

MAX_NAME = 64

_REALM = re.compile(r"[A-Za-z][A-Za-z0-9.\-_]+")
_USER = re.compile(r"[^\s:/!@\x00-\x1f\x7f][^\s:/!\x00-\x1f\x7f]*")
_NAME = re.compile(r"[A-Za-z0-9.\-_]+")
_PATH = re.compile(r"/(?:[A-Za-z0-9.\-_@:+!]+(?:/[A-Za-z0-9.\-_@:+!]+)*)?")
_EMAIL = re.compile(r"[^\s@:]+@[^\s@:]+")

AREAS = ("access", "mapping", "nodes", "pool", "sdn", "storage", "vms")
"""The first part of every path that rights can be given on."""


def user_id(text: str) -> str:
    """A user: ``name@realm``."""
    name, at, realm = text.rpartition("@")
    if not at or len(text) > MAX_NAME or not _USER.fullmatch(name) or not _REALM.fullmatch(realm):
        raise ValueError(
            f"value '{text}' does not look like a valid user name: write name@realm, at most {MAX_NAME} "
            "characters, no blank, ':', '/' or '!'"
        )
    return text


def token_id(text: str) -> str:
    """A whole token id: ``name@realm!token``."""
    user, mark, token = text.partition("!")
    if not mark:
        raise ValueError(f"value '{text}' does not look like a token: write name@realm!token")
    user_id(user)
    token_name(token)
    return text


def token_name(text: str) -> str:
    """The part of a token's id after the ``!``."""
    return _checked(
        _REALM, text, "token", "begin with a letter; letters, digits, '.', '-', '_'; two at least"
    )


def realm(text: str) -> str:
    """A realm."""
    return _checked(
        _REALM, text, "realm", "begin with a letter; letters, digits, '.', '-', '_'; two at least"
    )


def group(text: str) -> str:
    """A group."""
    return _checked(_NAME, text, "group", "letters, digits, '.', '-', '_'")


def role(text: str) -> str:
    """A role."""
    return _checked(_NAME, text, "role", "letters, digits, '.', '-', '_'")


def pool(text: str) -> str:
    """A pool, perhaps inside others: ``a/b/c``, three deep at most."""
    parts = text.split("/")
    if len(parts) > 3 or any(part in (".", "..") for part in parts):
        raise ValueError(f"'{text}' is not a pool name: pools lie three deep at most, without '..'")
    for part in parts:
        _checked(_NAME, part, "pool", "letters, digits, '.', '-', '_', and '/' between pools")
    return text


def acl_path(text: str) -> str:
    """A path that rights can be given on, normalised: ``/vms/100``."""
    path = "/" + "/".join(part for part in text.split("/") if part)
    parts = path.split("/")[1:]
    known = path == "/" or parts[0] in AREAS
    if not _PATH.fullmatch(path) or not known or any(part in (".", "..") for part in parts):
        raise ValueError(f"invalid ACL path '{text}': use / or one under {', '.join('/' + a for a in AREAS)}")
    return path


def email(text: str) -> str:
    """An e-mail address, or nothing."""
    if text and (not _EMAIL.fullmatch(text) or not text.isprintable()):
        raise ValueError(f"value '{text}' does not look like a valid email address")
    return text


def _checked(pattern: re.Pattern[str], text: str, kind: str, rule: str) -> str:
    if len(text) > MAX_NAME or not pattern.fullmatch(text):
        raise ValueError(f"'{text}' is not a {kind} name: {rule}")
    return text


UserId = Annotated[str, AfterValidator(user_id)]
TokenName = Annotated[str, AfterValidator(token_name)]
RealmName = Annotated[str, AfterValidator(realm)]
GroupName = Annotated[str, AfterValidator(group)]
RoleName = Annotated[str, AfterValidator(role)]
PoolName = Annotated[str, AfterValidator(pool)]


def each(text: str | None) -> tuple[str, ...]:
    """The values of a ``-list`` parameter, each once."""
    return tuple(dict.fromkeys(split_list(text or "")))
