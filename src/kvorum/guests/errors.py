"""What can go wrong with guests.

KvorumError
└── GuestError            500, a guest could not do what was asked
    ├── GuestConfigError  500, a configuration says something wrong; names file, line, key, what is allowed
    ├── GuestLocked       500, another operation holds the guest: ``VM is locked (migrate)``
    ├── AgentAbsent       500, no guest agent answers
    ├── QmpError          500, QEMU refused a command
    ├── QmpLost           500, the connection to QEMU ended
    ├── StartFailed       500, QEMU did not start; with its last output
    └── MigrationFailed   500, a migration was given up; says where the guest is now
DeadlineExceeded          596, QEMU did not answer in time
"""

from __future__ import annotations

from kvorum.core.errors import KvorumError


class GuestError(KvorumError):
    """A guest could not do what was asked; the sentence names it."""


class GuestConfigError(GuestError):
    """A guest's configuration says something wrong."""


class GuestLocked(GuestError):
    """Another operation holds the guest."""


class AgentAbsent(GuestError):
    """No guest agent answers; nothing was asked of one."""


class QmpError(GuestError):
    """QEMU refused a command; ``kind`` is QEMU's error class."""

    def __init__(self, message: str, kind: str = "GenericError") -> None:
        super().__init__(message)
        self.kind = kind


class QmpLost(GuestError):
    """The connection to QEMU ended; QEMU is gone or going."""


class StartFailed(GuestError):
    """QEMU did not start; the sentence holds its last output."""


class MigrationFailed(GuestError):
    """A migration was given up; the sentence says why and where the guest is now."""
