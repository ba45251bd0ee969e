"""datacenter.cfg, nodes/N/config, the jobs' lists, and what stands on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_world import context
from pydantic import ValidationError

from kvorum.core.errors import Conflict, KvorumError, ParameterError
from kvorum.guests import config_path
from kvorum.interface import NoParameters
from kvorum.node import wake
from kvorum.node.methods import datacenter, index, jobs, status
from kvorum.node.methods.datacenter import Options
from kvorum.node.methods.index import NextId
from kvorum.node.methods.jobs import (
    HaResource,
    HaResources,
    HaRules,
    JobId,
    NodeReplication,
    ScheduleQuestion,
)
from kvorum.node.methods.models import NodePath
from kvorum.node.methods.status import Config, ConfigQuestion
from kvorum.node.node_config import WakeRequest, wake_request


async def test_options_are_set_shown_as_objects_and_taken_out() -> None:
    ctx = context()
    await ctx.store.write("datacenter.cfg", "#Rack 7\nunknown-thing: x\nkeyboard: de\n")
    await datacenter.set_options(
        ctx,
        Options(
            **{  # type: ignore[arg-type]
                "migration": "insecure,network=198.51.100.0/24",
                "registered-tags": "a;b",
                "max_workers": 4,
                "delete": "keyboard",
            }
        ),
    )
    assert await datacenter.read_options(ctx, NoParameters()) == {
        "unknown-thing": "x",
        "migration": {"type": "insecure", "network": "198.51.100.0/24"},
        "registered-tags": ["a", "b"],
        "max_workers": 4,
        "description": "Rack 7\n",
    }
    file = ctx.store.read("datacenter.cfg")
    assert file is not None and file.text.startswith("#Rack 7\nunknown-thing: x\n")
    await datacenter.set_options(ctx, Options(description="New"))
    assert (await datacenter.read_options(ctx, NoParameters()))["description"] == "New\n"
    with pytest.raises(ParameterError, match="can't delete 'language' and set it"):
        await datacenter.set_options(ctx, Options(language="de", delete="language"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"migration": "insecure,network=here"},
        {"migration": "sometimes"},
        {"next-id": "lower=500,upper=200"},
        {"crs": "ha=clever"},
        {"bwlimit": "clone=fast"},
        {"mac_prefix": "01:00"},
        {"language": "xx"},
        {"tag-style": "colour=red"},
        {"http_proxy": "ftp://x"},
    ],
)
def test_a_wrong_option_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Options(**wrong)  # type: ignore[arg-type]


async def test_without_the_right_to_audit_only_what_every_page_needs_is_told() -> None:
    ctx = context(None, "/ Nothing")
    await ctx.store.write("datacenter.cfg", "keyboard: de\nmax_workers: 4\n")
    assert await datacenter.read_options(ctx, NoParameters()) == {"keyboard": "de"}


async def test_the_next_id_comes_from_the_range_that_the_admin_chose() -> None:
    ctx = context()
    assert await index.cluster_nextid(ctx, NextId(vmid=None)) == "100"
    await ctx.store.write("datacenter.cfg", "next-id: lower=500,upper=502\n")
    assert await index.cluster_nextid(ctx, NextId(vmid=None)) == "500"
    await ctx.store.write(config_path("n1", 500), "")
    await ctx.store.write(config_path("n1", 501), "")
    with pytest.raises(ParameterError, match="no VM id is free"):
        await index.cluster_nextid(ctx, NextId(vmid=None))


async def test_jobs_and_ha_are_listed_as_their_files_say() -> None:
    ctx = context()
    assert await jobs.ha_resources(ctx, HaResources(type=None)) == []
    await ctx.store.write("ha/resources.cfg", "vm: 100\n\tstate started\n\tmax_restart 2\n")
    await ctx.store.write("ha/rules.cfg", "node-affinity: prefer\n\tresources vm:100,vm:101\n\tnodes n1\n")
    await ctx.store.write("replication.cfg", "local: 100-0\n\ttarget n2\n\tdisable\n")
    await ctx.store.write(config_path("n1", 100), "")
    (row,) = await jobs.ha_resources(ctx, HaResources(type="vm"))
    assert row == {"sid": "vm:100", "type": "vm", "state": "started", "max_restart": 2}
    assert (await jobs.ha_resource(ctx, HaResource(sid="100")))["digest"]
    assert len(await jobs.ha_rules(ctx, HaRules(resource="vm:101", type=None))) == 1
    assert await jobs.ha_rules(ctx, HaRules(resource="vm:7", type=None)) == []
    (job,) = await jobs.node_replication(ctx, NodeReplication(node="n1", guest=None))
    assert (job["guest"], job["jobnum"], job["target"], job["disable"]) == (100, 0, "n2", True)
    with pytest.raises(KvorumError, match="no such resource 'vm:9'"):
        await jobs.ha_resource(ctx, HaResource(sid="9"))
    (quorum,) = await jobs.ha_status(ctx, NoParameters())
    assert (quorum["type"], quorum["status"]) == ("quorum", "OK")


async def test_guests_that_no_job_backs_up_are_named() -> None:
    ctx = context()
    for node, vmid in (("n1", 100), ("n1", 101), ("n2", 102), ("n2", 103)):
        await ctx.store.write(config_path(node, vmid), "")

    async def uncovered(text: str) -> list[object]:
        await ctx.store.write("jobs.cfg", text)
        return [row["vmid"] for row in await jobs.not_backed_up(ctx, NoParameters())]

    assert await uncovered("") == [100, 101, 102, 103]
    assert await uncovered("vzdump: a\n\tvmid 100,103\n\nvzdump: b\n\tvmid 101\n\tenabled 0\n") == [101, 102]
    assert await uncovered("vzdump: a\n\tall 1\n\texclude 101\n") == [101]
    assert await uncovered("vzdump: a\n\tall 1\n\tnode n2\n") == [100, 101]
    await ctx.store.write("user.cfg", "pool:web:comment:100,102::\n")
    assert await uncovered("vzdump: a\n\tpool web\n") == [101, 103]


async def test_a_backup_job_says_when_it_runs_next() -> None:
    ctx = context()
    await ctx.store.write("jobs.cfg", "vzdump: a\n\tschedule sat 02:00\n\tall 1\n\nrealm-sync: x\n")
    (row,) = await jobs.backup_list(ctx, NoParameters())
    assert row["all"] is True and row["enabled"] is True and int(str(row["next-run"])) > 0
    assert (await jobs.backup_job(ctx, JobId(id="a")))["digest"]
    with pytest.raises(KvorumError, match="no such backup job 'x'"):
        await jobs.backup_job(ctx, JobId(id="x"))


async def test_a_schedule_is_analysed_from_the_time_that_is_given() -> None:
    rows = await jobs.schedule_analyze(
        context(), ScheduleQuestion(schedule="*/15", starttime=1_800_000_000, iterations=3)
    )
    stamps = [int(str(row["timestamp"])) for row in rows]
    assert stamps[0] > 1_800_000_000 and stamps == [stamps[0], stamps[0] + 900, stamps[0] + 1800]
    assert str(rows[0]["utc"]).endswith("2027")
    with pytest.raises(ValidationError):
        ScheduleQuestion(schedule="every now and then")  # type: ignore[call-arg]


async def test_a_nodes_own_options_are_kept_with_its_digest() -> None:
    ctx = context()
    await status.set_config(ctx, Config(node="n1", wakeonlan="02:00:5E:00:53:01", description="Rack 7"))
    shown = await status.read_config(ctx, ConfigQuestion(node="n1", property=None))
    assert (shown["wakeonlan"], shown["description"]) == ("02:00:5E:00:53:01", "Rack 7\n")
    one = await status.read_config(ctx, ConfigQuestion(node="n1", property="wakeonlan"))
    assert one == {"wakeonlan": "02:00:5E:00:53:01"}
    with pytest.raises(Conflict):
        await status.set_config(ctx, Config(node="n1", delete="wakeonlan", digest="0" * 40))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="is no MAC address"):
        await status.set_config(ctx, Config(node="n1", wakeonlan="here"))


def test_a_magic_packet_is_the_address_sixteen_times() -> None:
    packet = wake.magic_packet("02:00:5e:00:53:01")
    assert packet == b"\xff" * 6 + b"\x02\x00\x5e\x00\x53\x01" * 16
    assert wake_request(
        "02:00:5e:00:53:01,bind-interface=vmbr0,broadcast-address=192.0.2.255"
    ) == WakeRequest("02:00:5e:00:53:01", "vmbr0", "192.0.2.255")


async def test_waking_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, sent = context(), []
    with pytest.raises(ParameterError, match="it is awake"):
        await status.wakeonlan(ctx, NodePath(node="n1"))
    with pytest.raises(KvorumError, match="pvesh set /nodes/n2/config --wakeonlan MAC"):
        await status.wakeonlan(ctx, NodePath(node="n2"))

    async def send(request: WakeRequest) -> None:
        sent.append(request.mac)

    monkeypatch.setattr(wake, "send", send)
    await ctx.store.write("nodes/n2/config", "wakeonlan: 02:00:5E:00:53:01\n")
    assert await status.wakeonlan(ctx, NodePath(node="n2")) == "02:00:5E:00:53:01"
    assert sent == ["02:00:5E:00:53:01"]


def test_packages_are_read_off_dpkgs_list(tmp_path: Path) -> None:
    from kvorum.node.report import packages

    file = tmp_path / "status"
    file.write_text(
        "Package: corosync\nStatus: install ok installed\nVersion: 3.1.9\n\n"
        "Package: systemd\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    assert packages(file) == "corosync 3.1.9\n"
    assert packages(tmp_path / "none").startswith("unknown")
