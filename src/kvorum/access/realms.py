"""Realms: where a user's password is checked. ``name@realm`` says which one."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from kvorum.core.errors import AuthenticationError, DeadlineExceeded

FAILURE = "authentication failure"
"""What a wrong name and a wrong password are both answered with."""

PAM_TIMEOUT_S = 20.0
_PAM_AT_ONCE = 4


PAM_SERVICE = "kvorum"
"""Our service of PAM, which the package brings as /etc/pam.d/kvorum."""


def pam_service(configured: Path = Path("/etc/pam.d")) -> str:
    """The service to ask PAM for: ours where the package brought it, else ``login``."""
    return PAM_SERVICE if (configured / PAM_SERVICE).is_file() else "login"


class Realm(ABC):
    """One realm, named and described as the login dialog shows it."""

    def __init__(self, name: str, comment: str) -> None:
        self.name = name
        self.comment = comment

    @property
    @abstractmethod
    def type(self) -> str:
        """The realm's kind: ``pam``, ``pve``, ``ldap``, …"""

    @abstractmethod
    async def check(self, user: str, password: str) -> None:
        """Return when the password is the user's (a name without realm).

        Raises ``AuthenticationError`` when it is not and ``DeadlineExceeded`` when it can't be found out.
        """


class PamRealm(Realm):
    """The system's own users, by PAM (pam(7)). It needs root's rights to check other users' passwords."""

    def __init__(self, service: str | None = None) -> None:
        super().__init__("pam", "Linux PAM standard authentication")
        self._service = service or pam_service()
        self._at_once = asyncio.Semaphore(_PAM_AT_ONCE)

    @property
    def type(self) -> str:
        return "pam"

    async def check(self, user: str, password: str) -> None:
        if "\0" in user or "\0" in password:
            raise AuthenticationError(FAILURE)
        try:
            # The thread can't be killed; the semaphore bounds how many a stuck PAM module can hold.
            async with asyncio.timeout(PAM_TIMEOUT_S), self._at_once:
                fine = await asyncio.to_thread(_ask_pam, user, password, self._service)
        except TimeoutError:
            raise DeadlineExceeded(f"PAM did not answer within {PAM_TIMEOUT_S:.0f} s") from None
        if not fine:
            raise AuthenticationError(FAILURE)


def _ask_pam(user: str, password: str, service: str) -> bool:
    import pam  # type: ignore[import-untyped]  # here, since it loads libpam

    return bool(pam.PamAuthenticator().authenticate(user, password, service=service, resetcreds=False))


class GeneratedPassword(Realm):
    """One user whose password was made up at the first start, for ``kvorum serve`` by an ordinary user.

    It takes the place of PAM, so that the one who started the server is ``root@pam`` in it.
    """

    def __init__(self, password: str, user: str = "root") -> None:
        super().__init__("pam", "The password that 'kvorum serve' shows")
        self._user = user
        self._password = password

    @property
    def type(self) -> str:
        return "pam"

    async def check(self, user: str, password: str) -> None:
        same = hmac.compare_digest(password.encode("utf-8", "replace"), self._password.encode())
        if not (same and user == self._user):
            raise AuthenticationError(FAILURE)


def stored_password(file: Path) -> str:
    """The password in ``file``; the first time it is made up and stored there, readable by its owner only."""
    try:
        with file.open(encoding="ascii") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        password = secrets.token_urlsafe(12)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(password + "\n", encoding="ascii")
    return password


class Realms:
    """The realms of this node, the default one first."""

    def __init__(self, realms: Sequence[Realm]) -> None:
        self._realms = {realm.name: realm for realm in realms}

    def __iter__(self) -> Iterator[Realm]:
        return iter(self._realms.values())

    async def check(self, user_at_realm: str, password: str) -> None:
        """Check a password; raises as ``Realm.check``, and ``AuthenticationError`` for an unknown realm."""
        user, _, realm = user_at_realm.rpartition("@")
        found = self._realms.get(realm)
        if found is None or not user:
            raise AuthenticationError(FAILURE)
        await found.check(user, password)
