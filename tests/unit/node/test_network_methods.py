"""Changes of the network wait in interfaces.new, are shown as pending, and can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from node_world import context
from stand_ins import Lines

from kvorum.core.errors import Conflict, KvorumError, ParameterError
from kvorum.interface import Context, Page
from kvorum.node import network_apply
from kvorum.node.host_files import HostFiles
from kvorum.node.methods import network
from kvorum.node.methods.models import NodePath
from kvorum.node.methods.network import (
    Apply,
    ChangedInterface,
    Interface,
    InterfacePath,
    NetworkFilter,
)

TEXT = """\
auto lo
iface lo inet loopback

iface eno1 inet manual

auto vmbr0
iface vmbr0 inet static
\taddress 198.51.100.5/25
\tgateway 198.51.100.1
\tbridge-ports eno1
\tbridge-stp off
\tpost-up echo kept
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "network").mkdir()
    file = tmp_path / "network" / "interfaces"
    file.write_text(TEXT)
    return file


@pytest.fixture
def ctx(tmp_path: Path, file: Path) -> Context:
    return context(tmp_path)


def pending(file: Path) -> str:
    return file.with_name("interfaces.new").read_text()


async def shown(ctx: Context) -> tuple[dict[str, Any], Page[dict[str, object]]]:
    page = await network.index(ctx, NetworkFilter(node="n1"))
    return {str(row["iface"]): row for row in page.rows}, page


async def test_what_is_configured_is_shown_with_its_unknown_options(ctx: Context) -> None:
    rows, page = await shown(ctx)
    bridge = rows["vmbr0"]
    assert (bridge["type"], bridge["bridge_ports"], bridge["autostart"]) == ("bridge", "eno1", True)
    assert (bridge["cidr"], bridge["netmask"], bridge["gateway"]) == (
        "198.51.100.5/25",
        "25",
        "198.51.100.1",
    )
    assert bridge["options"] == ["bridge-stp off", "post-up echo kept"]
    assert rows["eno1"]["type"] == "eth" and "lo" not in rows
    assert page.beside == {}


async def test_a_new_bridge_waits_and_the_difference_is_shown(ctx: Context, file: Path) -> None:
    await network.create(
        ctx,
        Interface(
            node="n1", iface="vmbr1", type="bridge", cidr="192.0.2.1/24", autostart=True, comments="lab\n"
        ),
    )
    assert file.read_text() == TEXT, "the running configuration is untouched"
    assert pending(file) == TEXT + (
        "\nauto vmbr1\niface vmbr1 inet static\n\tbridge-ports none\n\tbridge-stp off\n\tbridge-fd 0\n"
        "\taddress 192.0.2.1/24\n#lab\n"
    )
    rows, page = await shown(ctx)
    assert rows["vmbr1"]["cidr"] == "192.0.2.1/24" and rows["vmbr1"]["comments"] == "lab\n"
    assert "+iface vmbr1 inet static\n" in str(page.beside["changes"])
    with pytest.raises(ParameterError, match="'vmbr1' is configured already"):
        await network.create(ctx, Interface(node="n1", iface="vmbr1", type="bridge"))


async def test_a_change_keeps_what_it_does_not_mean(ctx: Context, file: Path) -> None:
    change = ChangedInterface(node="n1", iface="vmbr0", type="bridge", mtu=9000, bridge_vlan_aware=True)
    await network.update(ctx, change)
    wanted = [*TEXT.splitlines(), "\tbridge-vlan-aware yes", "\tmtu 9000"]
    assert sorted(pending(file).splitlines()) == sorted(wanted)
    await network.update(ctx, ChangedInterface(node="n1", iface="vmbr0", type="bridge", delete="mtu cidr"))
    rows, _ = await shown(ctx)
    assert rows["vmbr0"]["method"] == "manual" and "gateway" not in rows["vmbr0"]
    assert rows["vmbr0"]["bridge_vlan_aware"] is True
    assert "\tpost-up echo kept\n" in pending(file)


async def test_ipv6_has_a_stanza_of_its_own_and_goes_with_its_address(ctx: Context, file: Path) -> None:
    await network.update(
        ctx,
        ChangedInterface(
            node="n1", iface="vmbr0", type="bridge", cidr6="2001:db8::5/64", gateway6="2001:db8::1"
        ),
    )
    assert "iface vmbr0 inet6 static\n\tgateway 2001:db8::1\n\taddress 2001:db8::5/64\n" in pending(file)
    rows, _ = await shown(ctx)
    assert rows["vmbr0"]["families"] == ["inet", "inet6"] and rows["vmbr0"]["netmask6"] == 64
    await network.update(
        ctx, ChangedInterface(node="n1", iface="vmbr0", type="bridge", delete="cidr6,gateway6")
    )
    assert "inet6" not in pending(file)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cidr": "198.51.100.5/24"}, "interface 'vmbr0' has address '198.51.100.5/25' already"),
        ({"cidr": "192.0.2.1/24", "gateway": "192.0.2.9"}, "'vmbr0' has the default gateway already"),
        ({"gateway": "192.0.2.9"}, "needs an address"),
        ({"cidr": "192.0.2.1"}, "is no IPv4 address with its prefix's length"),
        ({"cidr": "2001:db8::1/64"}, "is no IPv4 address"),
        ({"address": "192.0.2.1"}, "needs netmask"),
        ({"bridge_ports": "eno1;reboot"}, None),
        ({"bridge_ports": "$(reboot)"}, "is no interface's name"),
    ],
)
async def test_what_can_not_work_is_refused_and_nothing_is_written(
    ctx: Context, file: Path, settings: dict[str, str], sentence: str | None
) -> None:
    wanted = Interface(node="n1", iface="vmbr1", type="bridge", **settings)  # type: ignore[arg-type]
    if sentence is None:
        await network.create(ctx, wanted)
        return
    with pytest.raises(ParameterError, match=sentence.replace("(", r"\(")):
        await network.create(ctx, wanted)
    assert not file.with_name("interfaces.new").exists()


async def test_what_is_pending_is_taken_back(ctx: Context, file: Path) -> None:
    await network.delete(ctx, InterfacePath(node="n1", iface="vmbr0"))
    assert "vmbr0" not in (await shown(ctx))[0]
    await network.revert(ctx, NodePath(node="n1"))
    rows, page = await shown(ctx)
    assert "vmbr0" in rows and page.beside == {}
    await network.revert(ctx, NodePath(node="n1"))
    with pytest.raises(ParameterError, match="is not configured"):
        await network.delete(ctx, InterfacePath(node="n1", iface="vmbr7"))


async def test_applied_without_ifupdown2_it_counts_from_the_next_boot(
    ctx: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"ifup": "/usr/sbin/ifup"}
    monkeypatch.setattr(network_apply, "_find", found.get)
    await network.delete(ctx, InterfacePath(node="n1", iface="vmbr0"))
    wanted, log = pending(file), Lines()
    work = await network.reload(ctx, Apply(node="n1"))
    await work.run(log)
    assert (work.type, work.id) == ("srvreload", "networking")
    assert file.read_text() == wanted and not file.with_name("interfaces.new").exists()
    assert "next boot" in log.warnings[0]


async def test_a_reload_that_fails_brings_the_old_file_back_and_keeps_the_change(
    ctx: Context, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "ifreload"
    command.write_text("#!/bin/sh\necho error: vmbr0: no such port\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setattr(network_apply, "_find", {"ifreload": str(command)}.get)
    await network.delete(ctx, InterfacePath(node="n1", iface="vmbr0"))
    wanted, log = pending(file), Lines()
    work = await network.reload(ctx, Apply(node="n1"))
    with pytest.raises(KvorumError, match="ifreload ended with status 1; the old configuration is back"):
        await work.run(log)
    assert file.read_text() == TEXT and pending(file) == wanted
    assert log.lines == ["error: vmbr0: no such port"]
    command.write_text("#!/bin/sh\nexit 0\n")
    await (await network.reload(ctx, Apply(node="n1"))).run(log)
    assert file.read_text() == wanted and not file.with_name("interfaces.new").exists()


async def test_a_change_between_the_click_and_the_task_is_noticed(ctx: Context, file: Path) -> None:
    work = await network.reload(ctx, Apply(node="n1"))
    file.write_text(TEXT + "# by hand\n")
    with pytest.raises(Conflict, match="changed meanwhile"):
        await work.run(Lines())


async def test_a_network_that_something_else_manages_is_left_alone(
    ctx: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_apply, "_find", {}.get)
    await network.delete(ctx, InterfacePath(node="n1", iface="vmbr0"))
    work = await network.reload(ctx, Apply(node="n1"))
    with pytest.raises(KvorumError, match="something else manages its network"):
        await work.run(Lines())
    assert file.read_text() == TEXT


@pytest.mark.parametrize("moment", ["before the file is in place", "before ifreload ends"])
async def test_a_daemon_that_dies_while_it_applies_leaves_the_old_file_and_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    files = HostFiles(tmp_path)
    files.write("network/interfaces", "old\n")
    files.write("network/interfaces.new", "new\n")
    ran: list[str] = []

    class Dead(BaseException):
        pass

    async def run(command: str, log: object) -> None:
        ran.append(files.read("network/interfaces"))

    async def die(command: str, log: object) -> None:
        raise Dead

    real, dies = files.write, moment.startswith("before the file")

    def write(name: str, text: str) -> None:
        if (dies and text == "new\n") or (text == "old\n" and name == "network/interfaces"):
            raise Dead  # also what would be done after it
        real(name, text)

    monkeypatch.setattr(network_apply, "_find", lambda command: f"/usr/sbin/{command}")
    monkeypatch.setattr(network_apply, "_run", die)
    monkeypatch.setattr(files, "write", write)
    with pytest.raises(Dead):
        await network_apply.apply(files, "network/interfaces", "network/interfaces.new", "new\n", None)  # type: ignore[arg-type]
    monkeypatch.setattr(network_apply, "_run", run)
    again = HostFiles(tmp_path)
    await network_apply.recover(again, "network/interfaces")
    assert {path.name: path.read_text() for path in (tmp_path / "network").iterdir()} == {
        "interfaces": "old\n",
        "interfaces.new": "new\n",
    }
    assert ran == ["old\n"]
    await network_apply.recover(again, "network/interfaces")
    assert len(ran) == 1, "there is nothing more to recover"
