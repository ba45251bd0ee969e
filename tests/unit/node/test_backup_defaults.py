"""What a backup would be made with."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_world import context

from kvorum.core.errors import KvorumError, PermissionDenied
from kvorum.core.paths import Paths
from kvorum.interface import Context
from kvorum.node.methods.backup import DefaultsQuestion, defaults, read_defaults
from kvorum.storage import StorageError, Storages

CONF = """# comment
tmpdir: /var/tmp
mode: stop
ionice: 5
remove: no
storage: nas
exclude-path: /a /b*
something-else: 1
"""


async def world(tmp_path: Path, text: str, *granted: str) -> Context:
    ctx = context(tmp_path / "etc", *granted)
    (tmp_path / "etc/vzdump.conf").write_text(text)
    nas = "\tpath /srv/nas\n\tcontent backup\n\tprune-backups keep-last=3\n"
    await ctx.store.write("storage.cfg", f"dir: local\n\tpath /srv/local\n\ndir: nas\n{nas}")
    ctx.services.add(Storages, Storages(ctx.store, Paths.under(tmp_path)))
    return ctx


async def test_the_nodes_file_counts_before_what_is_built_in_and_the_storages_rules_before_both(
    tmp_path: Path,
) -> None:
    ctx = await world(tmp_path, CONF)
    found = await defaults(ctx, DefaultsQuestion(node="n1"))
    assert found["mode"] == "stop" and found["ionice"] == 5 and found["remove"] is False
    assert found["lockwait"] == 180 and found["exclude-path"] == ["/a", "/b*"]
    assert found["prune-backups"] == "keep-last=3", "of the storage that the file names"
    assert "something-else" not in found
    other = await defaults(ctx, DefaultsQuestion(node="n1", storage="local"))
    assert other["prune-backups"] == "keep-all=1"


async def test_without_a_file_it_is_what_is_built_in(tmp_path: Path) -> None:
    ctx = await world(tmp_path, "")
    found = await defaults(ctx, DefaultsQuestion(node="n1"))
    assert (found["mode"], found["compress"], found["prune-backups"]) == ("snapshot", "0", "keep-all=1")


async def test_who_may_not_look_at_the_node_sees_nothing_of_its_paths(tmp_path: Path) -> None:
    ctx = await world(tmp_path, CONF, "/storage/nas Datastore.Audit")
    found = await defaults(ctx, DefaultsQuestion(node="n1"))
    assert "tmpdir" not in found and "exclude-path" not in found and found["mode"] == "stop"
    with pytest.raises(PermissionDenied, match="/storage/local"):
        await defaults(ctx, DefaultsQuestion(node="n1", storage="local"))


async def test_an_unknown_storage_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        await defaults(await world(tmp_path, ""), DefaultsQuestion(node="n1", storage="gone"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("ionice: low\n", "ionice: 'low' is no whole number"), ("quiet: maybe\n", "quiet: 'maybe' is neither")],
)
def test_a_value_of_another_kind_is_named(text: str, wrong: str) -> None:
    with pytest.raises(KvorumError, match=wrong):
        read_defaults(text)
