"""A file's history by the API: who may see what, and how a revision is brought back."""

from __future__ import annotations

import pytest
from stand_ins import Everything

from kvorum.cluster.methods import history
from kvorum.cluster.methods.history import HistoryOf, OneRevision, Restored, store_path
from kvorum.core.errors import Conflict, KvorumError, NoQuorum, ParameterError, PermissionDenied
from kvorum.interface import Context, Identity, RootOnly, Services, declared
from kvorum.store import Delete, Membership
from kvorum.store.memory import MemoryStore

PATH = "storage.cfg"


@pytest.fixture
async def store() -> MemoryStore:
    """Revision 1: not there, 2: one, 3: two; then it was removed and written anew, 4: three, 5: not there."""
    it = MemoryStore("n1")
    for text in ("one\n", "two\n", "three\n"):
        await it.write(PATH, text, who=f"who wrote {text.strip()}")
    await it.transact([Delete(PATH)], who="a cleaner")
    await it.write(PATH, "now\n", who="root@pam")
    return it


@pytest.fixture
def root(store: MemoryStore) -> Context:
    return Context(store, Services(), Identity("root@pam"), Everything())


@pytest.fixture
def auditor(store: MemoryStore) -> Context:
    return Context(store, Services(), Identity("joe@pve"), Everything())


def text(store: MemoryStore, path: str = PATH) -> str | None:
    file = store.read(path)
    return file.text if file else None


async def test_the_newest_comes_first_with_what_the_file_was_until_then(root: Context) -> None:
    rows = await history.history(root, HistoryOf(node="n1", path=PATH))
    assert [(row["revision"], row["size"], row["who"]) for row in rows] == [
        (5, None, "root@pam"),
        (4, 6, "a cleaner"),
        (3, 4, "who wrote three"),
        (2, 4, "who wrote two"),
        (1, None, "who wrote one"),
    ]
    assert {row["node"] for row in rows} == {"n1"}
    assert len(await history.history(root, HistoryOf(node="n1", path=PATH, limit=2))) == 2
    assert await history.history(root, HistoryOf(node="n1", path="never")) == []


async def test_a_revision_is_shown_and_compared_with_what_is_there_now(
    root: Context, store: MemoryStore
) -> None:
    shown = await history.show(root, OneRevision(node="n1", revision=3, path=PATH))
    assert shown["content"] == "two\n"
    compared = await history.diff(root, OneRevision(node="n1", revision=3, path=PATH))
    head, body = compared["diff"].split("@@\n")
    assert body == "-two\n+now\n"
    assert (
        f"--- {PATH} (revision 3)\tuntil " in head
        and f"+++ {PATH} (now)\tdigest {compared['digest']}" in head
    )
    file = store.read(PATH)
    assert file is not None and compared["digest"] == file.digest
    from_nothing = await history.diff(root, OneRevision(node="n1", revision=1, path=PATH))
    assert from_nothing["diff"].startswith("--- /dev/null\t") and "+now\n" in from_nothing["diff"]
    with pytest.raises(Conflict, match="no such file until"):
        await history.show(root, OneRevision(node="n1", revision=1, path=PATH))


async def test_a_revision_is_brought_back_and_can_be_undone_too(root: Context, store: MemoryStore) -> None:
    said = await history.restore(root, Restored(node="n1", revision=2, path=PATH))
    assert said.startswith("'storage.cfg' (4 bytes) is as it was until ")
    assert text(store) == "one\n"
    newest = (await history.history(root, HistoryOf(node="n1", path=PATH, limit=1)))[0]
    assert newest["who"] == "root@pam (pvecm config restore, revision 2)"
    await history.restore(root, Restored(node="n1", revision=newest["revision"], path=PATH))
    assert text(store) == "now\n"
    said = await history.restore(root, Restored(node="n1", revision=1, path=PATH))
    assert "is removed, as it was until" in said and text(store) is None
    version = store.version
    said = await history.restore(root, Restored(node="n1", revision=5, path=PATH))
    assert said.endswith("already; nothing was changed") and store.version == version


async def test_a_file_that_somebody_changes_meanwhile_is_left_alone(
    root: Context, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = (await history.diff(root, OneRevision(node="n1", revision=2, path=PATH)))["digest"]
    looked_up = store.revision

    async def changed_meanwhile(path: str, number: int) -> object:
        await store.write(PATH, "another's\n")
        return await looked_up(path, number)

    monkeypatch.setattr(store, "revision", changed_meanwhile)
    with pytest.raises(Conflict, match="changed by another user meanwhile"):
        await history.restore(root, Restored(node="n1", revision=2, path=PATH))
    monkeypatch.undo()
    with pytest.raises(
        Conflict, match=r"detected modified configuration - file changed by other user\? Try again"
    ):
        await history.restore(root, Restored(node="n1", revision=2, path=PATH, digest=digest))
    assert text(store) == "another's\n"


async def test_without_quorum_nothing_is_brought_back(root: Context, store: MemoryStore) -> None:
    store.set_membership(Membership(None, (), False, 2, "n2 is off"))
    with pytest.raises(NoQuorum, match="n2 is off"):
        await history.restore(root, Restored(node="n1", revision=2, path=PATH))
    assert (await history.show(root, OneRevision(node="n1", revision=2, path=PATH)))["content"] == "one\n"


async def test_what_can_not_be_brought_back_says_why(root: Context, store: MemoryStore) -> None:
    with pytest.raises(KvorumError, match="no revision 99"):
        await history.restore(root, Restored(node="n1", revision=99, path=PATH))
    with pytest.raises(Conflict, match="its config_version must grow"):
        await history.restore(root, Restored(node="n1", revision=1, path="/etc/pve/corosync.conf"))
    await store.write("binary", b"\xff\xfe")
    await store.write("binary", b"")
    with pytest.raises(Conflict, match=r"is no text \(2 bytes\).*can be restored"):
        await history.show(root, OneRevision(node="n1", revision=7, path="binary"))
    await history.restore(root, Restored(node="n1", revision=7, path="binary"))
    file = store.read("binary")
    assert file is not None and file.data == b"\xff\xfe"


async def test_a_guests_id_that_is_taken_by_now_is_not_brought_back(
    root: Context, store: MemoryStore
) -> None:
    await store.write("nodes/n1/qemu-server/100.conf", "name: old\n")
    await store.transact([Delete("nodes/n1/qemu-server/100.conf")])
    await store.write("nodes/n2/qemu-server/100.conf", "name: new\n")
    rows = await history.history(root, HistoryOf(node="n1", path="qemu-server/100.conf", limit=1))
    with pytest.raises(Conflict, match="VM 100 already exists"):
        await history.restore(
            root, Restored(node="n1", revision=rows[0]["revision"], path="qemu-server/100.conf")
        )


async def test_only_root_sees_the_history_of_private_files_and_any_content(
    root: Context, auditor: Context, store: MemoryStore
) -> None:
    await store.write("nodes/n1/priv/key", "secret")
    assert await history.history(auditor, HistoryOf(node="n1", path=PATH))
    for path in ("priv/key", "/etc/pve/priv/key", "nodes/n1/priv/key", "local/priv/key", "priv"):
        with pytest.raises(PermissionDenied, match="root@pam alone"):
            await history.history(auditor, HistoryOf(node="n1", path=path))
    assert await history.history(root, HistoryOf(node="n1", path="local/priv/key"))
    content = [m for m in declared() if m.path.startswith("/kvorum/nodes/{node}/history/{revision}")]
    assert len(content) == 3 and all(isinstance(m.permission, RootOnly) for m in content)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("storage.cfg", "storage.cfg"),
        ("/etc/pve/storage.cfg", "storage.cfg"),
        ("/etc/pve/local/pve-ssl.pem", "nodes/n1/pve-ssl.pem"),
        ("qemu-server/100.conf", "nodes/n1/qemu-server/100.conf"),
        ("lxc/100.conf", "nodes/n1/lxc/100.conf"),
        ("nodes/n2/qemu-server/100.conf", "nodes/n2/qemu-server/100.conf"),
        ("local", "local"),
    ],
)
def test_files_are_named_as_under_etc_pve(given: str, path: str) -> None:
    assert store_path(given, "n1") == path


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="names no file of /etc/pve"):
        store_path("/etc/pve/", "n1")
