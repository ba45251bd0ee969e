"""What /etc/network/interfaces includes is shown, and not changed through the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_world import context

from kvorum.core.errors import ParameterError
from kvorum.node.host_files import HostFiles
from kvorum.node.interfaces import Interfaces
from kvorum.node.methods import network
from kvorum.node.methods.network import ChangedInterface, Interface, InterfacePath, NetworkFilter
from kvorum.node.network_sources import sourced

MAIN = "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "network" / "interfaces.d"
    folder.mkdir(parents=True)
    (tmp_path / "network" / "interfaces").write_text(MAIN)
    (folder / "storage").write_text("iface eno7 inet static\n\taddress 192.0.2.7/24\n")
    return tmp_path


def paths(etc: Path, text: str) -> list[str]:
    return [each.path for each in sourced(HostFiles(etc), Interfaces.parse(text))]


def test_a_pattern_a_name_and_a_folder_are_followed(etc: Path) -> None:
    assert paths(etc, MAIN) == ["network/interfaces.d/storage"]
    assert paths(etc, "source interfaces.d/storage\n") == ["network/interfaces.d/storage"]
    (etc / "network" / "interfaces.d" / "old.bak").write_text("")
    assert paths(etc, "source-directory interfaces.d\n") == ["network/interfaces.d/storage"]


def test_what_includes_itself_or_lies_elsewhere_is_no_trap(etc: Path) -> None:
    (etc / "network" / "interfaces.d" / "again").write_text(MAIN)
    assert paths(etc, MAIN) == ["network/interfaces.d/again", "network/interfaces.d/storage"]
    assert paths(etc, "source /root/secret\nsource ../../shadow\nsource\nsource nothing*\n") == []


async def test_it_is_shown_and_its_change_names_the_file(etc: Path) -> None:
    ctx = context(etc)
    rows = {row["iface"]: row for row in (await network.index(ctx, NetworkFilter(node="n1"))).rows}
    assert rows["eno7"]["cidr"] == "192.0.2.7/24"
    sentence = "'eno7' is configured in /etc/network/interfaces.d/storage, which is only read here"
    with pytest.raises(ParameterError, match=sentence):
        await network.update(ctx, ChangedInterface(node="n1", iface="eno7", type="eth", mtu=9000))
    with pytest.raises(ParameterError, match=sentence):
        await network.create(ctx, Interface(node="n1", iface="eno7", type="eth"))
    with pytest.raises(ParameterError, match=sentence):
        await network.delete(ctx, InterfacePath(node="n1", iface="eno7"))
    assert not (etc / "network" / "interfaces.new").exists()
    bridge = Interface(node="n1", iface="vmbr1", type="bridge", bridge_ports="eno7.4")  # type: ignore[arg-type]
    await network.create(ctx, bridge)
    assert "bridge-ports eno7.4" in (etc / "network" / "interfaces.new").read_text()
