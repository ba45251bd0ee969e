"""The storages as this node has them: storage.cfg from the store, a kind's object for each, their state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvorum.core.errors import Conflict
from kvorum.core.ids import VolumeId
from kvorum.core.paths import Paths
from kvorum.storage import ova
from kvorum.storage.config import FILE, StorageConfig
from kvorum.storage.entry import StorageEntry
from kvorum.storage.errors import StorageConfigError, StorageError
from kvorum.storage.kind import StorageKind, StorageStatus, Volume
from kvorum.storage.kinds import KINDS
from kvorum.storage.ova import Part
from kvorum.storage.probe import Answer, Probe
from kvorum.store import Expect, Store, Write, expect_digest

STATUS_DEADLINE_S = 2.0
CONTENT_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class StorageState:
    """One storage on this node as last seen."""

    entry: StorageEntry
    status: StorageStatus | None
    error: str = ""
    age_s: float = 0.0


class Storages:
    """What methods and guests use to reach storages. Reads storage.cfg from the store at every call."""

    def __init__(self, store: Store, paths: Paths) -> None:
        self._store = store
        self._paths = paths
        self._probes: dict[StorageEntryKey, Probe[StorageStatus]] = {}

    def config(self) -> StorageConfig:
        """All of storage.cfg; where there is none yet, one ``local`` directory."""
        file = self._store.read(FILE)
        return StorageConfig.parse(file.text) if file is not None else self._default()

    def _default(self) -> StorageConfig:
        installed = self._paths == Paths.system()
        path = Path("/var/lib/vz") if installed else self._paths.state / "vz"
        options = {"path": str(path), "content": "iso,vztmpl,backup,images,import,snippets"}
        return StorageConfig((StorageEntry("dir", "local", options),))

    def get(self, storage: str) -> StorageKind:
        """A storage that this node has; raises ``StorageError`` when it is missing, off or elsewhere."""
        return self.open(self.config().get(storage))

    def open(self, entry: StorageEntry) -> StorageKind:
        """The object of a kind for one entry; raises ``StorageError`` when this node can't have it."""
        node = self._store.node
        if entry.wrong:
            raise StorageConfigError(entry.wrong)
        if entry.disabled:
            raise StorageError(f"storage '{entry.id}' is disabled")
        if not entry.available_on(node):
            allowed = ", ".join(sorted(entry.nodes))
            raise StorageError(f"storage '{entry.id}' is not available on node '{node}'; it is on: {allowed}")
        kind = KINDS.get(entry.type)
        if kind is None:
            raise StorageError(
                f"{FILE}{f' line {entry.line}' if entry.line else ''}: storage '{entry.id}' is of the kind "
                f"'{entry.type}', which is not supported here; supported: {', '.join(sorted(KINDS))}"
            )
        return kind(entry)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of storage that can be used."""
        return tuple(sorted(KINDS))

    def of(self, volume: VolumeId) -> StorageKind:
        """The storage that a volume lies on."""
        return self.get(volume.storage)

    def importable(self, volume: VolumeId) -> Path | Part:
        """What a disk is imported from: a volume, or a file in an OVA, ``STORAGE:import/x.ova/NAME``.

        It blocks. Raises ``StorageError`` where there is no such thing.
        """
        kind = self.of(volume)
        folder, _, rest = volume.name.partition("/")
        archive, slash, name = rest.partition("/")
        if folder == "import" and slash and archive.endswith(".ova"):
            return ova.part(kind.path(VolumeId(volume.storage, f"import/{archive}")), name)
        return kind.path(volume)

    async def state(self, entry: StorageEntry, deadline_s: float = STATUS_DEADLINE_S) -> StorageState:
        """How much room a storage has; a dead one costs ``deadline_s`` seconds at most."""
        try:
            kind = self.open(entry)
        except StorageError as error:
            return StorageState(entry, None, str(error))
        key = (entry.id, entry.type, tuple(sorted(entry.options.items())))
        probe = self._probes.setdefault(key, Probe(f"storage '{entry.id}'", kind.status_blocking))
        answer: Answer[StorageStatus] = await probe.ask(deadline_s)
        return StorageState(entry, answer.value, answer.error, answer.age_s)

    async def content(
        self, storage: str, vmid: int | None = None, content: Sequence[str] = ()
    ) -> list[Volume]:
        """The volumes of a storage; raises ``StorageError`` when it is dead."""
        kind = self.get(storage)
        probe = Probe(f"storage '{storage}'", lambda: kind.list_blocking(vmid, content))
        answer = await probe.ask(CONTENT_DEADLINE_S)
        if answer.value is None:
            raise StorageError(answer.error)
        return answer.value

    async def change(self, config: StorageConfig, old: StorageConfig, *, who: str, digest: str = "") -> None:
        """Write storage.cfg if nobody changed it since ``old`` was read; raises ``Conflict`` otherwise."""
        file = self._store.read(FILE)
        if (StorageConfig.parse(file.text) if file else self._default()) != old:
            raise Conflict(f"{FILE} was changed by another user meanwhile; try again")
        expect = Expect(FILE, file.version if file else None)
        if digest:
            expect = expect_digest(file, FILE, digest)
        await self._store.transact([Write(FILE, config.render().encode())], [expect], who=who)


StorageEntryKey = tuple[str, str, tuple[tuple[str, str], ...]]
