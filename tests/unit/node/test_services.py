"""Services: listed, started and stopped through systemd; what must not be stopped is not."""

from __future__ import annotations

import pytest
from node_world import context
from stand_ins import Lines

from kvorum.core.errors import KvorumError, ParameterError
from kvorum.interface import Context
from kvorum.node.methods import services as methods
from kvorum.node.methods import status
from kvorum.node.methods.models import NodePath
from kvorum.node.methods.services import ServicePath
from kvorum.node.methods.status import Power
from kvorum.node.services import ServiceControl
from kvorum.systemd import SystemdError, Unit


class FakeSystemd:
    """Knows cron, ssh and pvedaemon; notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def units(self, names: list[str]) -> list[Unit]:
        known = {"cron.service", "ssh.service", "pvedaemon.service"}
        return [
            Unit(name, f"The {name}", "loaded", "active", "running", "enabled")
            if name in known
            else Unit(name, "", "not-found", "inactive", "dead", "not-found")
            for name in names
        ]

    async def start(self, unit: str) -> None:
        self.asked.append(f"start {unit}")

    async def stop(self, unit: str) -> None:
        self.asked.append(f"stop {unit}")

    async def restart(self, unit: str) -> None:
        self.asked.append(f"restart {unit}")

    async def reload(self, unit: str) -> None:
        self.asked.append(f"reload {unit}")
        raise SystemdError(f"{unit} can't reload")

    async def enqueue_restart(self, unit: str) -> None:
        self.asked.append(f"enqueue {unit}")

    async def power(self, target: str) -> None:
        self.asked.append(target)

    async def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def systemd() -> FakeSystemd:
    return FakeSystemd()


@pytest.fixture
def ctx(systemd: FakeSystemd) -> Context:
    ctx, control = context(), ServiceControl()
    control._systemd = systemd  # type: ignore[assignment]  # a stand-in
    ctx.services.add(ServiceControl, control)
    return ctx


async def test_installed_services_are_listed_under_the_names_users_know(ctx: Context) -> None:
    rows = await methods.index(ctx, NodePath(node="n1"))
    assert [row["service"] for row in rows] == ["cron", "pvedaemon", "sshd"]
    assert rows[2] == {
        "service": "sshd",
        "name": "ssh",
        "desc": "The ssh.service",
        "state": "running",
        "active-state": "active",
        "unit-state": "enabled",
    }


async def test_a_service_that_is_not_installed_says_so(ctx: Context) -> None:
    told = await methods.state(ctx, ServicePath(node="n1", service="postfix"))
    assert (told["state"], told["unit-state"]) == ("dead", "not-found")
    with pytest.raises(KvorumError, match="'postfix' is not installed on node 'n1'"):
        await methods.start(ctx, ServicePath(node="n1", service="postfix"))


async def test_a_task_starts_and_stops_a_service(ctx: Context, systemd: FakeSystemd) -> None:
    for method in (methods.start, methods.stop, methods.restart):
        work = await method(ctx, ServicePath(node="n1", service="sshd"))
        await work.run(Lines())
    assert systemd.asked == ["start ssh.service", "stop ssh.service", "restart ssh.service"]
    assert (work.type, work.id) == ("srvrestart", "sshd")


async def test_what_can_not_reload_is_restarted(ctx: Context, systemd: FakeSystemd) -> None:
    log = Lines()
    await (await methods.reload(ctx, ServicePath(node="n1", service="cron"))).run(log)
    assert systemd.asked == ["reload cron.service", "restart cron.service"]
    assert "restarting it instead" in log.lines[-1]


@pytest.mark.parametrize("service", ["pve-cluster", "pvedaemon", "pveproxy"])
async def test_what_the_api_stands_on_is_not_stopped_through_it(ctx: Context, service: str) -> None:
    with pytest.raises(ParameterError, match=f"'systemctl stop {service}'"):
        await methods.stop(ctx, ServicePath(node="n1", service=service))  # type: ignore[arg-type]


async def test_the_daemon_restarts_itself_after_its_task_has_ended(
    ctx: Context, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Lines()
    await (await methods.restart(ctx, ServicePath(node="n1", service="pvedaemon"))).run(log)
    assert systemd.asked == [] and "when the task has ended" in log.lines[-1]


@pytest.mark.parametrize(
    ("command", "target"), [("reboot", "reboot.target"), ("shutdown", "poweroff.target")]
)
async def test_a_node_is_rebooted_and_shut_down_in_order(
    ctx: Context, systemd: FakeSystemd, command: str, target: str
) -> None:
    await status.node_power(ctx, Power(node="n1", command=command))  # type: ignore[arg-type]
    assert systemd.asked == [target]
