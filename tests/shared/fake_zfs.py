"""A ``zfs`` of directories: what the zfspool kind asks of the real one, with its words for what goes wrong.

``install`` puts a program of this name before all others; the pool's state is a JSON file beside it.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

POOL_BYTES = 1 << 30


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *pools: str) -> Path:
    """Install it with these pools; returns the directory below which they are mounted."""
    folder.mkdir()
    state = {pool: {"mounted": True, "mountpoint": str(folder / pool), "created": 1000} for pool in pools}
    (folder / "state.json").write_text(json.dumps(state))
    for pool in pools:
        (folder / pool).mkdir()
    program = folder / "zfs"
    program.write_text(
        f"#!/usr/bin/python3 -ISs\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import fake_zfs\nsys.exit(fake_zfs.main({str(folder)!r}, sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


class _Refused(Exception):
    pass


class _Pools:
    """The datasets by name; a snapshot's content is a hidden directory beside its dataset's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: dict[str, dict[str, Any]] = json.loads((folder / "state.json").read_text())

    def save(self) -> None:
        (self.folder / "state.json").write_text(json.dumps(self.all))

    def need(self, name: str) -> dict[str, Any]:
        if name not in self.all:
            raise _Refused(f"cannot open '{name}': dataset does not exist")
        return self.all[name]

    def refuse_taken(self, verb: str, name: str) -> None:
        if name in self.all:
            raise _Refused(f"cannot {verb} '{name}': dataset already exists")
        self.need(name.rpartition("/")[0] if "@" not in name else name.partition("@")[0])

    def place(self, name: str) -> Path:
        """Where content is: visible while mounted, hidden while not, and always hidden for snapshots."""
        dataset = self.all[name]
        hidden = self.folder / "hidden" / name.replace("/", "_")
        return self.folder / name if dataset.get("mounted") else hidden

    def move(self, name: str, **changes: Any) -> None:
        old = self.place(name)
        self.all[name].update(changes)
        new = self.place(name)
        new.parent.mkdir(exist_ok=True)
        old.rename(new)

    def below(self, name: str) -> list[str]:
        return [n for n in self.all if n.startswith((f"{name}/", f"{name}@"))]

    def clones(self, names: list[str]) -> list[str]:
        return [n for n, d in self.all.items() if d.get("origin") in names and n not in names]


def main(folder: str, arguments: list[str]) -> int:
    with (Path(folder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _carry_out(_Pools(Path(folder)), arguments)


def _carry_out(pools: _Pools, arguments: list[str]) -> int:
    verb, *rest = arguments
    options, names = [], []
    while rest:
        word = rest.pop(0)
        if word in ("-o", "-d", "-b", "-V", "-t", "-s"):
            options.append((word, rest.pop(0)))
        elif word.startswith("-"):
            options.append((word, ""))
        else:
            names.append(word)
    try:
        globals()[f"_{verb}"](pools, names, options)
    except _Refused as error:
        print(error, file=sys.stderr)
        return 1
    pools.save()
    return 0


def _create(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    (name,) = names
    pools.refuse_taken("create", name)
    given = dict(value.split("=") for flag, value in options if flag == "-o")
    if int(given.get("refreservation", 0)) > POOL_BYTES:
        raise _Refused(f"cannot create '{name}': out of space")
    pools.all[name] = {"mounted": True, "created": 1000 + len(pools.all), **given}
    pools.place(name).mkdir()


def _destroy(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    (name,) = names
    pools.need(name)
    going = [name, *pools.below(name)]
    if len(going) > 1 and ("-r", "") not in options:
        raise _Refused(f"cannot destroy '{name}': filesystem has children\nuse '-r' to destroy them")
    if clones := pools.clones(going):
        raise _Refused(f"cannot destroy '{name}': filesystem has dependent clones\n{clones[0]}")
    for each in going:
        shutil.rmtree(pools.place(each))
        del pools.all[each]


def _snapshot(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    (name,) = names
    pools.refuse_taken("create snapshot", name)
    pools.all[name] = {"created": 1000 + len(pools.all), "snapshot": True}
    pools.place(name).parent.mkdir(exist_ok=True)
    shutil.copytree(pools.place(name.partition("@")[0]), pools.place(name))


def _rollback(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    (name,) = names
    pools.need(name)
    dataset = name.partition("@")[0]
    own = [n for n in pools.below(dataset) if "@" in n]
    if own[-1] != name:
        raise _Refused(f"cannot rollback to '{name}': more recent snapshots exist\nuse '-r'")
    shutil.rmtree(pools.place(dataset))
    shutil.copytree(pools.place(name), pools.place(dataset))
    print("drop_caches failed: snapshot permissions cannot be modified", file=sys.stderr)
    pools.save()
    sys.exit(1)


def _clone(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    origin, name = names
    pools.need(origin)
    pools.refuse_taken("create", name)
    given = dict(value.split("=") for flag, value in options if flag == "-o")
    pools.all[name] = {"mounted": True, "created": 1000 + len(pools.all), "origin": origin, **given}
    shutil.copytree(pools.place(origin), pools.place(name))


def _rename(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    old, new = names
    if pools.need(old).get("mounted"):
        raise _Refused(f"cannot rename '{old}': dataset is busy")
    pools.refuse_taken("rename", new)
    for name in [old, *pools.below(old)]:
        changed = new + name.removeprefix(old)
        place = pools.place(name)
        pools.all[changed] = pools.all.pop(name)
        place.rename(pools.place(changed))
        for dataset in pools.all.values():
            if dataset.get("origin") == name:
                dataset["origin"] = changed


def _unmount(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    if not pools.need(names[0])["mounted"]:
        raise _Refused(f"cannot unmount '{names[0]}': not currently mounted")
    pools.move(names[0], mounted=False)


def _mount(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    if pools.need(names[0])["mounted"]:
        raise _Refused(f"cannot mount '{names[0]}': filesystem already mounted")
    pools.move(names[0], mounted=True)


def _set(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    change, name = names
    key, _, value = change.partition("=")
    pools.need(name)[key] = value


def _list(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    for name in [names[0], *pools.below(names[0])] if pools.need(names[0]) else []:
        if ("snapshot" in dict(options).get("-t", "")) == ("@" in name):
            print(name)


def _get(pools: _Pools, names: list[str], options: list[tuple[str, str]]) -> None:
    keys, dataset = names
    pools.need(dataset)
    below = pools.below(dataset) if ("-r", "") in options else []
    for name in (dataset, *(n for n in below if "@" not in n)):
        for key in keys.split(","):
            print(f"{name}\t{key}\t{_property(pools, name, key)}")


def _property(pools: _Pools, name: str, key: str) -> str:
    dataset = pools.all[name]
    if key == "used":
        return str(sum(f.stat().st_blocks * 512 for f in pools.place(name).rglob("*") if f.is_file()))
    if key == "mounted":
        return "yes" if dataset["mounted"] else "no"
    fixed = {"type": "filesystem", "available": str(POOL_BYTES), "creation": str(dataset["created"])}
    return fixed.get(key) or str(dataset.get(key, "-"))
