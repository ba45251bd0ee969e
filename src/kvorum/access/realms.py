"""Realms: where a user's password is checked. ``name@realm`` says which one."""

from __future__ import annotations

import asyncio
import functools
import hmac
import secrets
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Sequence
from pathlib import Path

from kvorum.access.changes import Draft, change
from kvorum.access.files.secrets_cfg import SHADOW, Shadow
from kvorum.core.errors import AuthenticationError, DeadlineExceeded, KvorumError
from kvorum.store import Store

FAILURE = "authentication failure"
"""What a wrong name and a wrong password are both answered with."""

PAM_TIMEOUT_S = 20.0
_PAM_AT_ONCE = 4
_HASHES_AT_ONCE = 2
HASH_MEMORY_KIB = 64 << 10
"""What an argon2id hash takes: RFC 9106, section 4, second recommendation, with three passes."""

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

    async def change_password(self, user: str, password: str, who: str) -> None:
        """Set a user's password (a name without realm); raises ``KvorumError`` where it can't be."""
        raise KvorumError(f"passwords of realm '{self.name}' can't be changed here")


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

    async def change_password(self, user: str, password: str, who: str) -> None:
        """Set the system's password, on this node alone (chpasswd(8): PAM's bindings only ask)."""
        if not user or any(ord(c) < 32 or c == ":" for c in user) or any(ord(c) < 32 for c in password):
            raise KvorumError("user name and password must not contain control characters")
        try:
            async with asyncio.timeout(PAM_TIMEOUT_S):
                process = await asyncio.create_subprocess_exec(
                    "chpasswd",
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=PIPE,
                    env={"PATH": "/usr/sbin:/sbin:/usr/bin"},
                )
                try:
                    _, said = await process.communicate(f"{user}:{password}\n".encode())
                finally:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"chpasswd did not end within {PAM_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise KvorumError(f"the system's password can't be set: chpasswd: {error.strerror}") from None
        if process.returncode:
            cause = said.decode("utf-8", "replace").replace(password, "…").strip().splitlines()
            raise KvorumError(
                f"the password of '{user}' was not set: {cause[-1] if cause else 'chpasswd failed'}"
            )


def _ask_pam(user: str, password: str, service: str) -> bool:
    import pam  # type: ignore[import-untyped]  # here, since it loads libpam

    return bool(pam.PamAuthenticator().authenticate(user, password, service=service, resetcreds=False))


class PveRealm(Realm):
    """Our own users: argon2id hashes in priv/shadow.cfg, the same on all nodes."""

    def __init__(self, store: Store) -> None:
        super().__init__("pve", "Kvorum authentication server")
        self._store = store
        self._at_once = asyncio.Semaphore(_HASHES_AT_ONCE)

    @property
    def type(self) -> str:
        return "pve"

    async def check(self, user: str, password: str) -> None:
        file = self._store.read(SHADOW)
        kept = Shadow.parse(file.text if file is not None else "").secrets.get(user)
        async with self._at_once:  # 64 MiB each
            fine = await asyncio.to_thread(fits, kept or _nobodys_hash(), password)
        if not fine or kept is None:
            raise AuthenticationError(FAILURE)

    async def change_password(self, user: str, password: str, who: str) -> None:
        async with self._at_once:
            kept = await asyncio.to_thread(hash_password, password)

        def edit(draft: Draft) -> None:
            if f"{user}@{self.name}" not in draft.users.users:
                raise KvorumError(f"no such user ('{user}@{self.name}')")
            draft.passwords = draft.passwords.put(user, kept)

        await change(self._store, edit, who=who)


def hash_password(password: str) -> str:
    """What is kept of a password (argon2id, RFC 9106); takes some 50 ms and 64 MiB."""
    from argon2 import PasswordHasher  # here: pveproxy never needs it

    return PasswordHasher(memory_cost=HASH_MEMORY_KIB).hash(password.encode("utf-8", "surrogatepass"))


def fits(kept: str, password: str) -> bool:
    """Whether a password is the one that was hashed; never for a hash of another kind."""
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return PasswordHasher().verify(kept, password.encode("utf-8", "surrogatepass"))
    except (Argon2Error, InvalidHashError):
        return False


@functools.cache
def _nobodys_hash() -> str:
    """A hash to compare with when there is no such user: the answer takes as long as for a wrong password."""
    return hash_password(secrets.token_urlsafe())


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

    def get(self, name: str) -> Realm:
        """The realm of this name; raises ``KvorumError`` when this version has none."""
        if name not in self._realms:
            raise KvorumError(f"no realm '{name}' that passwords can be checked in")
        return self._realms[name]
