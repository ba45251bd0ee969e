"""Changes of the network wait in interfaces.new, are shown as pending, and can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from node_world import context
from stand_ins import Lines

from kvorum.core.errors import Conflict, ParameterError
from kvorum.interface import Context, Identity, Page
from kvorum.node.methods import network
from kvorum.node.methods.models import NodePath
from kvorum.node.methods.network import (
    Apply,
    ChangedInterface,
    Interface,
    InterfacePath,
    NetworkFilter,
)
from kvorum.node.network_apply import NetworkChange

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
        ({"bridge_ports": "eno1;reboot"}, "'eno1' is a part of 'vmbr0' already"),
        ({"bridge_ports": "$(reboot)"}, "is no interface's name"),
    ],
)
async def test_what_can_not_work_is_refused_and_nothing_is_written(
    ctx: Context, file: Path, settings: dict[str, str], sentence: str
) -> None:
    wanted = Interface(node="n1", iface="vmbr1", type="bridge", **settings)  # type: ignore[arg-type]
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


async def test_a_change_between_the_click_and_the_task_is_noticed(ctx: Context, file: Path) -> None:
    work = await network.reload(ctx, Apply(node="n1"))
    file.write_text(TEXT + "# by hand\n")
    with pytest.raises(Conflict, match="changed meanwhile"):
        await work.run(Lines())


async def test_who_asked_over_the_network_is_heard_by_asking_for_the_task_and_by_confirming(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    change = ctx.service(NetworkChange)
    monkeypatch.setattr(change, "hear", lambda: heard.append("heard") or True)
    work = await network.reload(ctx, Apply(node="n1"))
    assert work.asked is not None
    work.asked(Identity("root@pam", address="local"))
    assert heard == [], "a command on the node itself proves nothing"
    work.asked(Identity("root@pam", address="192.0.2.9"))
    await network.confirm(ctx, NodePath(node="n1"))
    assert len(heard) == 2
    monkeypatch.setattr(change, "hear", lambda: False)
    with pytest.raises(Conflict, match="no network configuration waits to be confirmed"):
        await network.confirm(ctx, NodePath(node="n1"))
