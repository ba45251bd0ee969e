"""What an installed node's launcher asks of systemd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from dbus_fast import Message

from kvorum.guests.config import GuestConfig
from kvorum.guests.machine import launcher as launchers
from kvorum.guests.machine.launcher import PlainLauncher, SystemLauncher
from kvorum.systemd import Systemd


class Recorded(Systemd):
    """Notes what would be sent over D-Bus, once it is known to have that form."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, list[Any]]] = []

    async def reset_failed(self, unit: str) -> None:
        return

    async def _manager(self, member: str, signature: str = "", body: Sequence[object] = ()) -> list[Any]:
        message = Message(
            destination="org.freedesktop.systemd1", path="/org/freedesktop/systemd1",
            interface="org.freedesktop.systemd1.Manager", member=member, signature=signature, body=list(body),
        )  # fmt: skip
        message._marshall(False)
        self.sent.append((member, list(body)))
        return []

    async def _wait(
        self, unit: str, member: str, signature: str, body: Sequence[object], timeout: float
    ) -> None:
        await self._manager(member, signature, body)


def properties(values: object) -> Mapping[str, object]:
    return {key: variant.value for key, variant in cast("list[tuple[str, Any]]", values)}


async def test_qemu_and_swtpm_go_into_one_scope_with_the_guests_limits() -> None:
    systemd = Recorded()
    launcher = SystemLauncher(systemd)
    await launcher.admit(GuestConfig.parse(100, "name: web\ncpulimit: 1.5\ncpuunits: 20000\n"), [7, 8])
    (member, body) = systemd.sent.pop()
    assert (member, body[0]) == ("StartTransientUnit", "100.scope")
    found = properties(body[2])
    assert (found["PIDs"], found["Slice"], found["Description"]) == ([7, 8], "qemu.slice", "VM 100 (web)")
    assert (found["CPUQuotaPerSecUSec"], found["CPUWeight"]) == (1_500_000, 10_000)


async def test_a_guest_without_limits_has_a_scope_that_ends_after_the_hosts_guests_went_down() -> None:
    systemd = Recorded()
    await SystemLauncher(systemd).admit(GuestConfig.parse(100, "name: web\n"), [7])
    found = properties(systemd.sent[0][1][2])
    assert found.keys() == {"PIDs", "Description", "Slice", "CollectMode", "Before"}
    assert found["Before"] == ["pve-guests.service"]


async def test_limits_change_and_go_while_the_guest_runs() -> None:
    systemd = Recorded()
    launcher = SystemLauncher(systemd)
    await launcher.limit(GuestConfig.parse(100, "cpulimit: 0.5\n"))
    await launcher.limit(GuestConfig.parse(100, ""))
    changed = [(body[0], body[1], properties(body[2])) for _, body in systemd.sent]
    assert changed == [
        ("100.scope", True, {"CPUQuotaPerSecUSec": 500_000, "CPUWeight": 100}),
        ("100.scope", True, {"CPUQuotaPerSecUSec": 2**64 - 1, "CPUWeight": 100}),
    ]


def test_a_limit_that_the_hosts_groups_do_not_carry_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    carried = launchers._controllers(tmp_path)
    assert carried == {"memory", "pids"}
    monkeypatch.setattr(launchers, "_controllers", lambda: carried)
    system, limited = SystemLauncher(Recorded()), GuestConfig.parse(100, "cpulimit: 1\ncpuunits: 5\n")
    assert system.unlimited(limited) == (
        "cpulimit and cpuunits can't be kept: the control groups of this host do not carry 'cpu'"
    )
    assert system.unlimited(GuestConfig.parse(100, "cores: 1\n")) == ""
    assert PlainLauncher().unlimited(limited) == "cpulimit and cpuunits need a node with systemd"
    monkeypatch.setattr(launchers, "_controllers", lambda: carried | {"cpu"})
    assert system.unlimited(limited) == ""


def test_version_1_groups_are_told_by_their_folders(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    assert launchers._controllers(tmp_path) == {"cpu"}
    assert launchers._controllers(tmp_path / "nowhere") == frozenset()
