"""systemd: units started, stopped and asked for their state, scopes for guests (D-Bus), and sd_notify.

The D-Bus side loads where it is first used: a daemon that only notifies is spared its memory.
"""

from typing import TYPE_CHECKING

from kvorum.systemd.notify import notify, stay_alive

if TYPE_CHECKING:
    from kvorum.systemd.manager import Systemd, SystemdError, Unit

__all__ = ["Systemd", "SystemdError", "Unit", "notify", "stay_alive"]


def __getattr__(name: str) -> object:
    if name in ("Systemd", "SystemdError", "Unit"):
        from kvorum.systemd import manager

        return getattr(manager, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
