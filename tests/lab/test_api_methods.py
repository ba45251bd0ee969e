"""Every GET of the API answers on real nodes, asked by a client that people have (proxmoxer)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from lab_cluster import Cluster, Maker, address
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

from kvorum.interface import Method, NodeOnly
from kvorum.server.rooms import methods

GETS = [m for m in methods() if m.verb == "GET" and not isinstance(m.permission, NodeOnly)]
QUERY = {"timeframe": "hour", "schedule": "*/15", "hostname": "198.18.10.2", "path": "storage.cfg"}
"""Values for parameters that must be given."""
STREAMS = ("/events", "websocket")
"""What answers as a stream has tests of its own."""
ON_PURPOSE = frozenset({"/kvorum/cluster/adopt"})
"""Refuses with a sentence where nothing is wrong."""
RUNNING = ("/agent/", "/screenshot")
"""What a guest that is off can't be asked: test_guest_agent.py and test_consoles.py ask one that runs."""


@pytest.fixture
def connect(cluster: Cluster, clients_in_the_lab: None) -> Callable[[str], ProxmoxAPI]:
    """proxmoxer, logged in to a node."""

    def log_in(node: str) -> ProxmoxAPI:
        host = address(cluster.lab, node, 0)
        return ProxmoxAPI(host, user="root@pam", password=cluster.lab.password, verify_ssl=False, timeout=30)

    return log_in


def fill(method: Method, values: dict[str, str]) -> str | None:
    """The method's path with what is there; ``None`` where there is nothing of the kind to ask about."""
    missing = [name for name in re.findall(r"\{(\w+)\}", method.path) if name not in values]
    return None if missing else re.sub(r"\{(\w+)\}", lambda match: values[match[1]], method.path)


def test_every_get_answers_and_none_with_an_error(
    cluster: Cluster, guest: Maker, connect: Callable[[str], ProxmoxAPI]
) -> None:
    vmid = guest("n2", "--scsi0", "local:1")
    client = connect("n1")
    volumes = client.nodes("n2").storage("local").content.get(vmid=vmid)
    tasks = client.nodes("n2").tasks.get()
    values = {
        "node": "n2",
        "vmid": str(vmid),
        "storage": "local",
        "service": "systemd-journald",
        "iface": "vmbr0",
        "volume": volumes[0]["volid"],
        "userid": "root@pam",
        "realm": "pam",
        "roleid": "Administrator",
    } | ({"upid": tasks[0]["upid"]} if tasks else {})
    wrong, asked = [], 0
    for method in GETS:
        path = fill(method, values)
        if path is None or any(word in path for word in (*STREAMS, *RUNNING)):
            continue
        fields = {field.alias or name: field for name, field in method.parameters.model_fields.items()}
        needed = [n for n, f in fields.items() if f.is_required() and f"{{{n}}}" not in method.path]
        if any(name not in QUERY for name in needed):
            continue
        asked += 1
        try:
            client(path.lstrip("/")).get(**{name: QUERY[name] for name in needed})
        except ResourceException as error:
            if error.status_code >= 500 and path not in ON_PURPOSE:
                wrong.append(f"{path}: {error}")
    assert not wrong, "\n".join(wrong)
    assert asked > 90, "the walk has lost its way"


def test_a_nodes_services_journal_and_clock_are_told_and_changed(
    cluster: Cluster, connect: Callable[[str], ProxmoxAPI]
) -> None:
    node = connect("n1").nodes("n2")
    found = {row["service"]: row for row in node.services.get()}
    assert found["pvedaemon"]["state"] == "running" and found["pvedaemon"]["unit-state"] == "enabled"
    assert node.services("corosync").state.get()["active-state"] == "active"
    upid = node.services("systemd-journald").restart.post()
    cluster.until(
        "n1", f"pvesh get '/nodes/n2/tasks/{upid}/status' --output-format json | grep -q exitstatus"
    )
    assert node.tasks(upid).status.get()["exitstatus"] == "OK"
    lines = node.journal.get(lastentries=5)
    assert len(lines) == 7 and lines[0].startswith("s="), "cursor, five lines, cursor"
    assert node.journal.get(startcursor=lines[-1], lastentries=0) is not None
    rows = node.syslog.get(limit=3, service="pvedaemon")
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1)) and rows and "n2 " in rows[0]["t"]
    before = node.time.get()["timezone"]
    node.time.put(timezone="Asia/Kolkata")
    told = node.time.get()
    assert (told["timezone"], told["localtime"] - told["time"]) == ("Asia/Kolkata", 19800)
    assert cluster.say("n2", "date", "+%z").strip() == "+0530"
    node.time.put(timezone=before)


def test_a_change_of_the_network_waits_and_is_taken_back(
    cluster: Cluster, connect: Callable[[str], ProxmoxAPI]
) -> None:
    node = connect("n3").nodes("n1")
    node.network.post(iface="vmbr9", type="bridge", cidr="192.0.2.1/24", autostart=1)
    assert "iface vmbr9 inet static" in cluster.say("n1", "cat", "/etc/network/interfaces.new")
    assert "vmbr9" in {row["iface"] for row in node.network.get()}
    assert cluster.run("n1", "ip", "link", "show", "vmbr9").returncode != 0, "nothing is applied yet"
    with pytest.raises(ResourceException, match="is no address with its prefix"):
        node.network.post(iface="vmbr8", type="bridge", cidr="192.0.2.300/24")
    node.network.delete()
    assert "vmbr9" not in {row["iface"] for row in node.network.get()}


def test_metrics_are_scraped_and_history_begins(
    cluster: Cluster, connect: Callable[[str], ProxmoxAPI]
) -> None:
    client = connect("n2")
    cluster.until("n1", "grep -q '^pve-node-9.0/n2:' /etc/pve/.rrd")
    assert len(client.nodes("n2").rrddata.get(timeframe="hour", cf="AVERAGE")) == 70
    ticket = client.get_tokens()[0]
    host = address(cluster.lab, "n2", 0)
    url = f"https://{host}:8006/metrics"
    answer = requests.get(url, cookies={"PVEAuthCookie": ticket}, verify=False, timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    assert "kvorum_quorate 1.0" in answer.text and 'kvorum_node_uptime_seconds{node="n2"}' in answer.text
    assert requests.get(url, verify=False, timeout=30).status_code == 401
    picture = (
        f"https://{address(cluster.lab, 'n1', 0)}:8006/api2/png/nodes/n2/rrd?ds=cpu,loadavg&timeframe=hour"
    )
    answer = requests.get(picture, cookies={"PVEAuthCookie": ticket}, verify=False, timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG") and answer.content.endswith(b"IEND\xaeB`\x82")


def test_guests_of_two_nodes_are_acted_on_by_one_call_to_a_third(
    cluster: Cluster, guest: Maker, connect: Callable[[str], ProxmoxAPI]
) -> None:
    here, there = guest("n1", "--memory", "32"), guest("n2", "--memory", "32")
    client = connect("n3")

    def bulk(action: str, **given: object) -> str:
        upid = client(f"cluster/bulk-action/guest/{action}").post(vms=f"{here},{there}", **given)
        told = f"/nodes/n3/tasks/{upid}/status --output-format json"
        cluster.until("n3", f"pvesh get {told} | grep -q exitstatus")
        ended: dict[str, str] = client.nodes("n3").tasks(upid).status.get()
        return ended["exitstatus"]

    assert bulk("start") == "OK"
    assert [cluster.status("n1", here), cluster.status("n2", there)] == ["running", "running"]
    assert bulk("suspend") == "OK"
    assert client.nodes("n2").qemu(there).status.current.get()["qmpstatus"] == "paused"
    assert bulk("start") == "OK"
    assert bulk("migrate", target="n1", online=1) == "OK"
    assert cluster.owner(there) == ["n1"]
    assert bulk("shutdown", timeout=0) == "OK"
    assert [cluster.status("n1", here), cluster.status("n1", there)] == ["stopped", "stopped"]


def test_backups_on_another_node_are_pruned(cluster: Cluster, connect: Callable[[str], ProxmoxAPI]) -> None:
    for day in ("2026_05_01", "2026_05_02"):
        name = f"/var/lib/vz/dump/vzdump-qemu-9900-{day}-01_00_00.vma"
        cluster.say("n2", "sh", "-c", f"mkdir -p /var/lib/vz/dump && echo x > {name}")
    storage = connect("n1").nodes("n2").storage("local")
    marks = storage.prunebackups.get(vmid=9900, **{"prune-backups": "keep-last=1"})
    assert [row["mark"] for row in marks] == ["keep", "remove"]
    upid = storage.prunebackups.delete(vmid=9900, **{"prune-backups": "keep-last=1"})
    cluster.until("n1", f"pvesh get /nodes/n2/tasks/{upid}/status --output-format json | grep -q '\"OK\"'")
    left = cluster.say("n2", "sh", "-c", "ls /var/lib/vz/dump | grep 9900; rm /var/lib/vz/dump/*9900*")
    assert left.split() == ["vzdump-qemu-9900-2026_05_02-01_00_00.vma"]


def test_history_is_on_disk_when_the_daemon_has_ended(
    cluster: Cluster, connect: Callable[[str], ProxmoxAPI]
) -> None:
    cluster.until("n3", "test -s /run/kvorum/rrd/pve-node-9.0/n3")
    cluster.say("n3", "systemctl", "restart", "pvedaemon")
    saved = cluster.say("n3", "stat", "-c", "%s", "/var/lib/kvorum/rrd/pve-node-9.0/n3")
    assert int(saved) > 10_000
    cluster.settled()
    assert len(connect("n1").nodes("n3").rrddata.get(timeframe="day")) == 70
