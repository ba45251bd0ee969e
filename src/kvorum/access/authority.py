"""Who may do what, by user.cfg as the store has it now; what is not granted is denied."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvorum.access.files import user_cfg
from kvorum.access.files.user_cfg import UserConfig
from kvorum.access.rights.permissions import NOTHING, Permissions, Privileges, active
from kvorum.access.rights.privileges import AREAS
from kvorum.access.signing import Clock, wall_clock
from kvorum.core.remembered import Remembered
from kvorum.interface import Authority, Identity
from kvorum.store import File, Store


class AccessAuthority(Authority):
    """The ``Authority`` of all daemons: reads user.cfg once per change of it."""

    def __init__(self, store: Store, clock: Clock = wall_clock) -> None:
        self._store = store
        self._clock = clock
        self._permissions = Remembered(_permissions)

    @property
    def config(self) -> UserConfig:
        """user.cfg as it is now, parsed once for each content of it."""
        return self._present().config

    def active(self, name: str) -> bool:
        """Whether a user or token (``user@realm!token``) is there, switched on and not expired."""
        return active(self.config, name, self._clock())

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return privilege in self.permissions(identity, path)

    def rights(self, identity: Identity) -> Callable[[str, str], bool]:
        if identity.node is not None:
            return lambda path, privilege: False
        permissions = self._present().of(identity.name, self._clock()).permissions
        return lambda path, privilege: privilege in permissions(path)

    def permissions(self, identity: Identity, path: str) -> Privileges:
        """All that a caller has on a path."""
        if identity.node is not None:
            return NOTHING  # a node's word is for methods that ask for it, never for a user's
        return self._present().of(identity.name, self._clock()).permissions(path)

    def named_paths(self, identity: Identity) -> frozenset[str]:
        """The paths at which user.cfg says something about a caller."""
        return self._present().of(identity.name, self._clock()).named_paths()

    def groups(self, user: str) -> frozenset[str] | None:
        return self.config.groups_of(user) if user in self.config.users else None

    def _present(self) -> Permissions:
        return self._permissions.of(self._store.read(user_cfg.FILE))


def _permissions(file: File | None) -> Permissions:
    return Permissions(UserConfig.parse(file.text if file is not None else ""))


def capabilities(authority: Authority, identity: Identity) -> Mapping[str, Mapping[str, int]]:
    """What a login is told: area to privilege to 1, those the user has at the area's own path."""
    return {
        area: {name: 1 for name in names if authority.allowed(identity, path, name)}
        for area, (path, names) in AREAS.items()
    }
