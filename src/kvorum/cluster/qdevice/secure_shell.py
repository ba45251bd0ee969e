"""The QDevice's host over SSH: root by password or key, its host key pinned by fingerprint. By asyncssh.

ShellError          500, the connection or a command failed
├── HostUnreachable  595, nobody answers there
├── HostKeyChanged   500, it shows another host key than the pinned one
└── LoginRefused     401, root's password or key is refused
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from kvorum.core.errors import KvorumError

if TYPE_CHECKING:
    import asyncssh

PORT = 22
CONNECT_S = 10.0
COMMAND_S = 60.0
# One order for looking and for connecting, so that both see the same one of a host's keys.
_KEY_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")


class ShellError(KvorumError):
    """The other machine could not be worked with; the sentence names it."""


class HostUnreachable(ShellError):
    """No SSH server answers."""

    code = 595


class HostKeyChanged(ShellError):
    """Another host key than expected."""


class LoginRefused(ShellError):
    """root may not come in."""

    code = 401


async def host_key(address: str, port: int = PORT) -> str:
    """The fingerprint (``SHA256:…``) of a host's key, for an admin to compare; raises ``ShellError``."""
    import asyncssh

    _quiet()

    try:
        async with asyncio.timeout(CONNECT_S):
            key = await asyncssh.get_server_host_key(
                address, port, server_host_key_algs=_KEY_KINDS, config=None
            )
    except (OSError, TimeoutError, asyncssh.Error) as error:
        raise HostUnreachable(_unreachable(address, port, error)) from None
    if key is None:
        raise ShellError(f"{address} shows no SSH host key that is known here")
    return str(key.get_fingerprint())


class SecureShell:
    """A connection as root. Use as an async context manager; raises ``ShellError``."""

    def __init__(
        self,
        address: str,
        pinned: str,
        *,
        password: str | None = None,
        key: str | None = None,
        port: int = PORT,
    ) -> None:
        self.address = address
        self._pinned = pinned
        self._password = password
        self._key = key
        self._port = port
        self._connection: asyncssh.SSHClientConnection | None = None

    async def __aenter__(self) -> Self:
        import asyncssh

        _quiet()
        seen: list[str] = []
        pinned = self._pinned

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                seen.append(key.get_fingerprint())
                return seen[-1] == pinned

        options: dict[str, Any] = {
            "username": "root",
            "known_hosts": b"",
            "server_host_key_algs": _KEY_KINDS,
            "client_factory": Client,
            "config": None,
            "agent_path": None,
            "client_keys": [self._key] if self._key else None,
            "password": None if self._key else self._password,
            "preferred_auth": ["publickey"] if self._key else ["password", "keyboard-interactive"],
            "keepalive_interval": 5,
            "keepalive_count_max": 3,
        }
        try:
            async with asyncio.timeout(2 * CONNECT_S):
                self._connection = await asyncssh.connect(self.address, self._port, **options)
        except asyncssh.HostKeyNotVerifiable:
            raise HostKeyChanged(changed_key(self.address, pinned, seen[-1] if seen else "unknown")) from None
        except asyncssh.PermissionDenied:
            raise LoginRefused(self._refused()) from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise LoginRefused(f"the key file '{self._key}' can't be used: {error}") from None
        except (OSError, TimeoutError, asyncssh.Error) as error:
            if isinstance(error, FileNotFoundError | IsADirectoryError) and self._key:
                raise LoginRefused(f"the key file '{self._key}' can't be read: {error.strerror}") from None
            raise HostUnreachable(_unreachable(self.address, self._port, error)) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self._connection.wait_closed()
            except TimeoutError:
                self._connection.abort()

    async def succeeds(self, argv: Sequence[str]) -> bool:
        """Whether a command ends with 0."""
        status, _, _ = await self._run(argv, b"", COMMAND_S)
        return status == 0

    async def run(self, argv: Sequence[str], input: bytes = b"", *, timeout: float = COMMAND_S) -> bytes:
        """Run a command and return what it prints; raises ``ShellError`` with its last words."""
        status, out, err = await self._run(argv, input, timeout)
        if status != 0:
            words = (err.strip() or out.strip()).decode(errors="replace").splitlines()
            raise ShellError(
                f"{self.address}: {argv[0]} failed: {words[-1] if words else f'it ended with {status}'}"
            )
        return out

    async def _run(
        self, argv: Sequence[str], input: bytes, timeout: float
    ) -> tuple[int | None, bytes, bytes]:
        import asyncssh

        assert self._connection is not None, "use it as an async context manager"
        try:
            async with asyncio.timeout(timeout):
                done = await self._connection.run(shlex.join(argv), input=input, encoding=None)
        except TimeoutError:
            raise ShellError(f"{self.address}: {argv[0]} did not end within {timeout:g} s") from None
        except (OSError, asyncssh.Error) as error:
            raise ShellError(f"{self.address}: the connection was lost: {error}") from None
        return done.exit_status, _bytes(done.stdout), _bytes(done.stderr)

    def _refused(self) -> str:
        if self._key:
            return (
                f"{self.address} refuses root's login with the key '{self._key}': add its public half to "
                "/root/.ssh/authorized_keys there"
            )
        return (
            f"{self.address} refuses root's login by password: the password is wrong, or 'PermitRootLogin "
            "yes' is missing there (Debian lets root in by key only): set it in /etc/ssh/sshd_config, run "
            "'systemctl restart ssh' there, and try again"
        )


def changed_key(address: str, expected: str, seen: str) -> str:
    """What is said of a host whose key is not the expected one."""
    return (
        f"the SSH host key of {address} is another than expected: its fingerprint is {seen}, expected was "
        f"{expected}. If the machine was installed anew, give the new one by --hostkey; if not, somebody may "
        "be in between"
    )


def _unreachable(address: str, port: int, error: Exception) -> str:
    cause = str(error) or f"no answer within {CONNECT_S:g} s"
    return f"{address} can't be reached by SSH at port {port}: {cause}: is it on, and does sshd run there?"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value or "").encode()


def _quiet() -> None:
    """asyncssh writes every command's fate into the journal; what is to be known, our own lines say."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
