"""A node's methods on a store in memory and an /etc of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kvorum.interface import Context, Identity, Services
from kvorum.node.host_files import HostFiles
from kvorum.node.network_apply import NetworkChange
from kvorum.node.network_trial import Sight
from kvorum.store.memory import MemoryStore


async def _nobody() -> Sight:
    return Sight()


class Rights:
    """Everything, or just what is named as ``PATH PRIVILEGE``."""

    def __init__(self, *granted: str) -> None:
        self._granted = granted

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return not self._granted or f"{path} {privilege}" in self._granted

    def rights(self, identity: Identity) -> Callable[[str, str], bool]:
        return lambda path, privilege: self.allowed(identity, path, privilege)


def context(etc: Path | None = None, *granted: str) -> Context:
    """What a method is called with; ``granted`` limits the caller's rights."""
    services = Services()
    if etc is not None:
        (etc / "network").mkdir(parents=True, exist_ok=True)
        files = HostFiles(etc)
        services.add(HostFiles, files)
        services.add(NetworkChange, NetworkChange(files, _nobody))
    return Context(MemoryStore("n1"), services, Identity("root@pam"), Rights(*granted))
