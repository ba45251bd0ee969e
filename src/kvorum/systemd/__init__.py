"""systemd over D-Bus: units started, stopped and asked for their state, and scopes for guests."""

from kvorum.systemd.manager import Systemd, SystemdError

__all__ = ["Systemd", "SystemdError"]
