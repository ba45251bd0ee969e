"""The texts of ``pvecm status`` and ``pvecm nodes``, to the letter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvorum.cluster.quorum import Device, Shape, StoreWord, Voter
from kvorum.cluster.status import (
    ClusterView,
    StatusNode,
    explain_view,
    nodes_block,
    quorum_block,
    refused_edits,
    status_block,
    store_word,
)
from kvorum.cluster.watch import counted
from kvorum.cluster.watch.links import Counted
from kvorum.corosync import Flag, NodeState, RingId, VoteInfo


def view(flags: Flag = Flag.QUORATE, *, total: int = 2, device: str = "") -> ClusterView:
    local = VoteInfo(1, NodeState.MEMBER, 1, 3, 3, total, 2, flags, 1 if device else 0, device)
    members = tuple(StatusNode(n, 1, f"hp{n}", f"10.0.0.{n}", flags) for n in (1, 2)[: min(total, 2)])
    voters = [Voter("hp1", 1, True), Voter("hp2", 1, total > 1)]
    if not device:
        voters.append(Voter("hp3", 1, False))
    shape = Shape(tuple(voters), Device(1, True) if device else None)
    return ClusterView("home", "3", "knet", "on", RingId(1, 0x1A8), local, members, shape)


def test_status_reads_as_users_know_it() -> None:
    lines = status_block(view(), 0).split("\n")
    assert lines[:7] == [
        "Cluster information",
        "-------------------",
        "Name:             home",
        "Config Version:   3",
        "Transport:        knet",
        "Secure auth:      on",
        "",
    ]
    assert "Node ID:          0x00000001" in lines
    assert "Ring ID:          1.1a8" in lines
    assert "Quorum:           2  " in lines
    assert "Flags:            Quorate " in lines
    assert lines[-4:] == [
        "    Nodeid      Votes Name",
        "0x00000001          1 10.0.0.1 (local)",
        "0x00000002          1 10.0.0.2",
        "",
    ]


def test_without_quorum_activity_is_blocked_and_the_way_out_is_said() -> None:
    alone = view(Flag(0), total=1)
    assert "Quorum:           2 Activity blocked\n" in status_block(alone, 0)
    assert "Quorate:          No\n" in status_block(alone, 0)
    assert "Start hp2 or hp3 to go on." in quorum_block(explain_view(alone))


def test_a_device_has_its_row_and_column() -> None:
    flags = Flag.QUORATE | Flag.QDEVICE_REGISTERED | Flag.QDEVICE_ALIVE | Flag.QDEVICE_CAST_VOTE
    text = status_block(view(flags, total=3, device="Qdevice"), 0)
    assert "Flags:            Quorate Qdevice \n" in text
    assert "    Nodeid      Votes    Qdevice Name\n" in text
    assert "0x00000001          1    A,V,NMW 10.0.0.1 (local)\n" in text
    assert text.endswith("0x00000000          1            Qdevice\n")


def test_nodes_have_decimal_ids_and_names() -> None:
    assert nodes_block(view()) == (
        "\nMembership information\n----------------------\n    Nodeid      Votes Name\n"
        "         1          1 hp1 (local)\n         2          1 hp2\n"
    )


def test_the_store_says_why_nothing_can_be_changed(tmp_path: Path) -> None:
    members = {"cluster": {"quorate": 0, "reason": "waiting for hp1"}}
    (tmp_path / ".members").write_text(json.dumps(members))
    assert store_word(tmp_path) == (StoreWord(False, "waiting for hp1"), False, {}, [])
    (tmp_path / "ha").mkdir()
    (tmp_path / "ha" / "resources.cfg").write_text("vm: 100\n")
    shown = {"quorate": 1, "refused": {"hp2": "too old"}, "warnings": ["Link 0 is down."]}
    (tmp_path / ".members").write_text(json.dumps({"cluster": shown}))
    assert store_word(tmp_path) == (StoreWord(True), True, {"hp2": "too old"}, ["Link 0 is down."])
    edits = refused_edits({"hp2": "too old"})
    assert quorum_block(explain_view(view()), edits).endswith(
        "hp2: too old; the cluster keeps the one it has.\n"
    )
    told = quorum_block(explain_view(view(), StoreWord(False, "waiting for hp1")))
    assert "Corosync has quorum, but nothing can be changed here: waiting for hp1.\n" in told


def test_a_store_that_hangs_or_is_away_is_said_and_not_waited_for(tmp_path: Path) -> None:
    assert "does not answer" in store_word(tmp_path)[0].reason
    os.mkfifo(tmp_path / ".members")
    assert "does not answer" in store_word(tmp_path, wait_s=0.05)[0].reason


def test_the_command_imports_neither_asyncio_nor_cryptography() -> None:
    code = "import sys; from kvorum.cluster import status_text; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "cryptography", "aiohttp", "pydantic", "cffi", "kvorum.corosync.document"}


def test_links_stand_below_as_corosync_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {(2, 0): Counted(True, 312, 9, 9, 0), (2, 1): Counted(False, 0, 9, 0, 1)}
    monkeypatch.setattr(counted, "counted", lambda keys: {key: counts[key] for key in keys})
    assert counted.link_lines([(2, "hp2")], [0, 1])[2:] == [
        "    Nodeid       Link      State    Latency Name",
        "0x00000002          0  connected    0.31 ms hp2",
        "0x00000002          1       down          - hp2",
    ]
    monkeypatch.setattr(counted, "counted", lambda keys: {})
    assert counted.link_lines([], [0]) == []
