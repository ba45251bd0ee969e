"""What ``pvesr`` and ``ha-manager`` print."""

from __future__ import annotations

import time

from kvorum.cli.arguments import Presentation
from kvorum.cli.output import jobs

SHOWN = Presentation()


def test_pvesr_list_is_in_the_known_columns_by_guest() -> None:
    rows = [
        {
            "id": "101-0",
            "guest": 101,
            "jobnum": 0,
            "target": "n3",
            "schedule": "*/5",
            "rate": 10,
            "disable": True,
        },
        {"id": "100-1", "guest": 100, "jobnum": 1, "target": "n2"},
    ]
    assert jobs.replications(rows, SHOWN) == (
        "JobID                Target                 Schedule  Rate  Enabled\n"
        "100-1                local/n2                   */15     -      yes\n"
        "101-0                local/n3                    */5    10       no\n"
    )


def test_pvesr_status_tells_how_the_last_run_ended() -> None:
    at = int(time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1)))
    rows = [
        {"id": "100-0", "guest": 100, "jobnum": 0, "target": "n2", "last_sync": at, "next_sync": at + 60,
         "duration": 3.5},
        {"id": "100-1", "guest": 100, "jobnum": 1, "target": "n3", "error": "no space", "fail_count": 2},
        {"id": "100-2", "guest": 100, "jobnum": 2, "target": "n4", "pid": 77, "disable": True},
    ]  # fmt: skip
    lines = jobs.replication_status(rows, SHOWN).splitlines()
    assert [line.split()[0] for line in lines] == ["JobID", "100-0", "100-1", "100-2"]
    assert "2026-11-28_12:00:00  2026-11-28_12:01:00        3.5          0 OK" in lines[1]
    assert "pending" in lines[2]
    assert lines[2].endswith("2 no space")
    assert lines[3].split()[1] == "No"
    assert lines[3].endswith("SYNCING")


def test_ha_manager_status_is_a_line_for_each_part() -> None:
    assert jobs.ha_status([{"type": "quorum", "status": "OK"}], SHOWN) == "quorum OK\n"
    lost = [
        {"type": "quorum", "status": "No quorum!", "node": "n1"},
        {"type": "service", "status": "vm:100 (n1, started)"},
    ]
    assert jobs.ha_status(lost, SHOWN) == "quorum No quorum on node 'n1'!\nservice vm:100 (n1, started)\n"


def test_ha_manager_config_has_each_resource_with_its_settings() -> None:
    rows = [
        {"sid": "vm:101", "type": "vm", "state": "started", "failback": True},
        {"sid": "vm:100", "type": "vm"},
    ]
    assert jobs.ha_sections(rows, SHOWN) == "vm:100\n\nvm:101\n\tfailback 1\n\tstate started\n\n"
    groups = [{"group": "fast", "type": "group", "nodes": "n1,n2"}]
    assert jobs.ha_sections(groups, SHOWN) == "group: fast\n\tnodes n1,n2\n\n"
