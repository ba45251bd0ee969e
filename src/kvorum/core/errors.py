"""The errors every room shares: each is one sentence that names the object, the cause and the next step.

    KvorumError                 500, the caller's request could not be done
    ├── ParameterError          400, with a sentence per parameter
    ├── AuthenticationError     401, who you are could not be established
    ├── PermissionDenied        403, you may not
    ├── NotImplementedHere      501, no such method
    ├── NoQuorum                500, the cluster may not change anything now
    ├── OutcomeUnknown          500, a change was sent off and its fate could not be learnt
    ├── Conflict                500, the object changed meanwhile, is locked or exists already
    ├── Unreachable             595, another node could not be reached
    └── DeadlineExceeded        596, another node or QEMU did not answer in time

``code`` is the HTTP status the API answers with; the sentence goes into the reason phrase (its first line,
at most 1,000 bytes) and whole into the body.
"""

from __future__ import annotations

from collections.abc import Mapping


class KvorumError(Exception):
    """A request that could not be done; ``str()`` is the sentence shown to the user."""

    code: int = 500


class ParameterError(KvorumError):
    """One or more parameters are wrong; ``errors`` maps each parameter's name to its sentence."""

    code = 400

    def __init__(self, errors: Mapping[str, str], message: str = "Parameter verification failed.") -> None:
        super().__init__(message)
        self.errors: dict[str, str] = dict(errors)

    def __str__(self) -> str:
        lines = [str(self.args[0]), *(f"{name}: {text}" for name, text in self.errors.items())]
        return "\n".join(lines)


class AuthenticationError(KvorumError):
    """The caller's ticket, token, password or CSRF token is missing or wrong."""

    code = 401


class PermissionDenied(KvorumError):
    """The caller is known and lacks a privilege: ``Permission check failed (/path, Priv)``."""

    code = 403


class NotImplementedHere(KvorumError):
    """There is no such method: ``Method 'GET /x' not implemented``."""

    code = 501


class NoQuorum(KvorumError):
    """The node is not part of a quorate membership, so nothing may be changed."""


class OutcomeUnknown(KvorumError):
    """A change was sent off and may or may not have taken effect; look before trying again."""


class Conflict(KvorumError):
    """The object is locked, exists already, or is not in the state the caller expected."""


class Unreachable(KvorumError):
    """Another node could not be reached."""

    code = 595


class DeadlineExceeded(KvorumError):
    """Another node, or QEMU, did not answer within its deadline."""

    code = 596
