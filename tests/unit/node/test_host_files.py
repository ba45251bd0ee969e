"""resolv.conf, hosts and the time zone are shown, and changed without harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_world import context

from kvorum.core.errors import Conflict, KvorumError, ParameterError
from kvorum.interface import Context
from kvorum.node.host_files import HostFiles
from kvorum.node.methods import files
from kvorum.node.methods.files import Dns, Hosts, TimeZone
from kvorum.node.methods.models import NodePath

NODE = NodePath(node="n1")


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return context(tmp_path)


async def test_name_servers_are_set_and_other_lines_stay(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("domain old.example\nnameserver 192.0.2.1\noptions edns0\n# mine\n")
    assert await files.read_dns(ctx, NODE) == {"search": "old.example", "dns1": "192.0.2.1"}
    await files.set_dns(ctx, Dns(node="n1", search="new.example", dns1="192.0.2.2", dns2="2001:db8::1"))
    assert (tmp_path / "resolv.conf").read_text() == (
        "search new.example\nnameserver 192.0.2.2\nnameserver 2001:db8::1\noptions edns0\n# mine\n"
    )
    assert (await files.read_dns(ctx, NODE))["dns2"] == "2001:db8::1"


async def test_a_file_that_others_manage_is_not_written(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "managed").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "resolv.conf").symlink_to(tmp_path / "managed")
    with pytest.raises(KvorumError, match=r"is a link to .*managed"):
        await files.set_dns(ctx, Dns(node="n1", search="x", dns1="192.0.2.2"))
    assert (tmp_path / "managed").read_text() == "nameserver 127.0.0.53\n"


async def test_hosts_are_replaced_only_if_nobody_else_did(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    (tmp_path / "hosts").chmod(0o640)
    shown = await files.read_hosts(ctx, NODE)
    assert shown["data"] == "127.0.0.1 localhost\n"
    await files.set_hosts(ctx, Hosts(node="n1", data="127.0.0.1 a", digest=str(shown["digest"])))
    assert (tmp_path / "hosts").read_text() == "127.0.0.1 a\n"
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o640
    with pytest.raises(Conflict, match="changed by other user"):
        await files.set_hosts(ctx, Hosts(node="n1", data="b", digest=str(shown["digest"])))


async def test_the_time_zone_is_told_and_set(ctx: Context, tmp_path: Path) -> None:
    assert (await files.read_time(ctx, NODE))["timezone"] == "UTC"
    (tmp_path / "timezone").write_text("UTC\n")
    await files.set_time(ctx, TimeZone(node="n1", timezone="Asia/Kolkata"))
    told = await files.read_time(ctx, NODE)
    assert told["timezone"] == "Asia/Kolkata"
    assert int(str(told["localtime"])) - int(str(told["time"])) == 19800
    assert (tmp_path / "timezone").read_text() == "Asia/Kolkata\n"


@pytest.mark.parametrize("name", ["Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "", "zone.tab"])
async def test_a_time_zone_that_is_none_is_refused(ctx: Context, tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="is no time zone"):
        await files.set_time(ctx, TimeZone(node="n1", timezone=name))
    assert not (tmp_path / "localtime").exists()


def test_what_can_not_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    with pytest.raises(KvorumError, match="/etc/hosts can't be written"):
        HostFiles(tmp_path).set_hosts("x")
    assert [each.name for each in tmp_path.iterdir()] == ["hosts"]
