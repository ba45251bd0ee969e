"""The rows of ``/cluster/resources`` as JSON, kept between requests.

A row is kept with the inputs it was made from (what its node published, where its guest's file lies, its
pool), and these are compared at each look. So nothing has to be told of a change, and no row outlives its
cause: what is returned is always what ``resources`` makes of the present inputs. Who may see which row is
none of it; that is asked at each request. Kept are the rows of the last look alone: about 1 MB for 2,000
guests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import UNSET, UnsetType

from kvorum.access import Pool, UserConfig
from kvorum.access.files import user_cfg
from kvorum.core.remembered import Remembered
from kvorum.guests import GuestRecord, owners
from kvorum.guests.statistics import KEY as GUESTS
from kvorum.interface import plain, to_json
from kvorum.node import record, resources
from kvorum.node.pools import pool_of_guest
from kvorum.node.record import NodeRecord
from kvorum.node.resources import Snapshot
from kvorum.storage import StorageConfig, StorageEntry, StorageError, StorageRecord
from kvorum.storage.config import FILE as STORAGE_CONFIG
from kvorum.storage.statistics import KEY as STORAGES
from kvorum.store import File, Membership, Store

Told = Mapping[str, bytes]
"""What each node published under one key."""

_encoder = msgspec.json.Encoder()
_guest_records = msgspec.msgpack.Decoder(list[GuestRecord])
_storage_records = msgspec.msgpack.Decoder(list[StorageRecord])
_Pools = Mapping[int, str]


class ResourceRows:
    """The rows of one daemon, from its store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guests: Remembered[tuple[Told, Mapping[str, str], _Pools], dict[int, bytes]] = Remembered(
            self._make_guests
        )
        self._owners = Remembered(owners)
        self._spoken: dict[str, Remembered[tuple[bytes, _Pools], dict[int, tuple[str, bytes]]]] = {}
        self._nodes = Remembered(_make_nodes)
        self._storages = Remembered(_make_storages)
        self._users = Remembered(_parse_users)
        self._pool_of = Remembered(pool_of_guest)

    def pools(self) -> Mapping[str, Pool]:
        """The pools, as user.cfg has them."""
        return self._users.of(self._store.read(user_cfg.FILE)).pools

    def guests(self) -> Mapping[int, bytes]:
        """Every guest's row by its VM id, in the order of ids."""
        pools = self._pool_of.of(self.pools())
        return self._guests.of((self._store.published(GUESTS), self._store.guests(), pools))

    def nodes(self) -> Mapping[str, bytes]:
        """Every node's row by its name, sorted: for those who may audit the node."""
        return {name: row for name, (row, _) in self._node_rows().items()}

    def bare_nodes(self) -> Mapping[str, bytes]:
        """Every node's row without its figures, for everybody who has logged in."""
        return {name: bare for name, (_, bare) in self._node_rows().items()}

    def _node_rows(self) -> Mapping[str, tuple[bytes, bytes]]:
        return self._nodes.of((self._store.membership, self._store.published(record.KEY)))

    def storages(self) -> Mapping[tuple[str, str], bytes]:
        """Every storage's row by node and name, sorted."""
        told, file = self._store.published(STORAGES), self._store.read(STORAGE_CONFIG)
        return self._storages.of((self._store.membership, told, file))

    def all(self) -> Iterator[tuple[str, bytes]]:
        """Every row of nodes, guests and storages with its id."""
        yield from ((f"node/{name}", row) for name, row in self.nodes().items())
        yield from ((f"qemu/{vmid}", row) for vmid, row in self.guests().items())
        yield from ((f"storage/{node}/{name}", row) for (node, name), row in self.storages().items())

    def _make_guests(self, inputs: tuple[Told, Mapping[str, str], _Pools]) -> dict[int, bytes]:
        told, paths, pools = inputs
        for gone in self._spoken.keys() - told.keys():
            del self._spoken[gone]
        spoken = {node: self._spoken_of(node).of((data, pools)) for node, data in told.items()}
        names: dict[int, str] | None = None
        nothing: dict[int, tuple[str, bytes]] = {}
        rows = {}
        for vmid, node in self._owners.of(paths).items():
            found = spoken.get(node, nothing).get(vmid)
            if found is not None:
                rows[vmid] = found[1]
                continue
            if names is None:
                names = {other: name for some in spoken.values() for other, (name, _) in some.items()}
            name: str | UnsetType = names.get(vmid, UNSET)
            rows[vmid] = _encoder.encode(resources.silent_guest_row(vmid, node, name, pools.get(vmid, UNSET)))
        return rows

    def _spoken_of(self, node: str) -> Remembered[tuple[bytes, _Pools], dict[int, tuple[str, bytes]]]:
        """What ``node`` says of its guests: name and row by VM id; nothing when it talks nonsense."""

        def make(inputs: tuple[bytes, _Pools]) -> dict[int, tuple[str, bytes]]:
            data, pools = inputs
            try:
                records = _guest_records.decode(data)
            except msgspec.MsgspecError:
                return {}
            return {
                one.vmid: (
                    one.name,
                    _encoder.encode(resources.guest_row(one, node, pools.get(one.vmid, UNSET))),
                )
                for one in records
            }

        return self._spoken.setdefault(node, Remembered(make))


def _make_nodes(inputs: tuple[Membership, Told]) -> dict[str, tuple[bytes, bytes]]:
    membership, told = inputs
    decoded = {name: one for name, data in told.items() if (one := record.decode(data)) is not None}
    rows = resources.node_rows(Snapshot(membership, decoded, {}, {}))
    return {
        str(row["node"]): (to_json(plain(row)), to_json(plain(resources.bare_node_row(row)))) for row in rows
    }


def _make_storages(inputs: tuple[Membership, Told, File | None]) -> dict[tuple[str, str], bytes]:
    membership, told, file = inputs
    records: dict[str, list[StorageRecord]] = {}
    for node, data in told.items():
        try:
            records[node] = _storage_records.decode(data)
        except msgspec.MsgspecError:
            continue
    nodes: dict[str, NodeRecord] = {}
    rows = resources.storage_rows(Snapshot(membership, nodes, {}, {}, records, configured(file)))
    return {(str(row["node"]), str(row["storage"])): to_json(plain(row)) for row in rows}


def configured(file: File | None) -> tuple[StorageEntry, ...]:
    """The storages of storage.cfg; none where it can't be read, which its own methods say."""
    try:
        return StorageConfig.parse(file.text).entries if file is not None else ()
    except StorageError:
        return ()


def _parse_users(file: File | None) -> UserConfig:
    return UserConfig.parse(file.text if file is not None else "")
