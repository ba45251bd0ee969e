"""Daemons are restarted in an orderly way: tasks and streams outlive pveproxy, and no client holds one up."""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from lab_cluster import address
from test_login import ask, log_in

if TYPE_CHECKING:
    from lab_cluster import Cluster, Maker

SOON_S = 4.0
"""For a stop with clients that hang; it was 10 s."""


def headers(cluster: Cluster) -> dict[str, str]:
    data = json.loads(log_in(cluster, "n1", cluster.lab.password)[2])["data"]
    return {
        "Authorization": f"PVEAuthCookie={data['ticket']}",
        "CSRFPreventionToken": data["CSRFPreventionToken"],
    }


def hang_on(cluster: Cluster, node: str, path: str, sent: dict[str, str], read: int) -> ssl.SSLSocket:
    """Ask, read a little of the answer, and then no more."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = cluster.lab.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(20)
    plain.connect((address(cluster.lab, node, 0), 8006))
    secure = context.wrap_socket(plain)
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    secure.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    assert secure.recv(read)
    return secure


@pytest.mark.parametrize("unit", ["pveproxy", "pvedaemon"])
def test_a_client_that_hangs_does_not_hold_up_a_restart(cluster: Cluster, guest: Maker, unit: str) -> None:
    vmid, sent = guest("n1", "--memory", "32"), headers(cluster)
    cluster.say("n1", "qm", "start", str(vmid))
    path = f"/api2/json/nodes/n1/qemu/{vmid}/status/shutdown"  # waits a minute: there is no system in it
    status, _, body = ask(cluster, "n1", "POST", path, {"timeout": "60"}, **sent)
    assert status == 200
    upid = json.loads(body)["data"]
    hanging = [
        hang_on(cluster, "n1", "/api2/events", sent, 10),
        hang_on(cluster, "n1", f"/api2/events?task={upid}", sent, 10),
        hang_on(cluster, "n1", "/api2/openapi.json", sent, 10),
        hang_on(cluster, "n1", "/api2/html/", sent, 10),
    ]
    try:
        began = time.monotonic()
        cluster.say("n1", "systemctl", "stop", unit)
        took = time.monotonic() - began
        cluster.say("n1", "systemctl", "start", unit)
        print(f"{unit}: stopped in {took:.1f} s")
        assert took < SOON_S
    finally:
        for one in hanging:
            one.close()
    cluster.settled()
    status = ask(cluster, "n1", "GET", f"/api2/json/nodes/n1/tasks/{upid}/status", **sent)[2]
    task = json.loads(status)["data"]
    if unit == "pveproxy":
        assert task["status"] == "running"
        assert ask(cluster, "n1", "DELETE", f"/api2/json/nodes/n1/tasks/{upid}", **sent)[0] == 200
        expected = "interrupted: stopped by root@pam"
    else:
        expected = "interrupted: stopped by the end of pvedaemon"
    task = json.loads(ask(cluster, "n1", "GET", f"/api2/json/nodes/n1/tasks/{upid}/status", **sent)[2])[
        "data"
    ]
    assert (task["status"], task["exitstatus"]) == ("stopped", expected)
    assert cluster.status("n1", vmid) == "running"


def test_a_running_task_and_its_log_survive_pveproxy(cluster: Cluster, guest: Maker) -> None:
    """The log goes on where it was, by Last-Event-ID; the task does not notice."""
    vmid, sent = guest("n2", "--memory", "32"), headers(cluster)
    cluster.say("n2", "qm", "start", str(vmid))
    path = f"/api2/json/nodes/n2/qemu/{vmid}/status/shutdown"
    upid = json.loads(ask(cluster, "n1", "POST", path, {"timeout": "8", "forceStop": "1"}, **sent)[2])["data"]
    for node in ("n1", "n2"):
        cluster.say(node, "systemctl", "restart", "pveproxy")
        cluster.settled()
    status, _, stream = ask(cluster, "n1", "GET", f"/api2/events?task={upid}", **sent)
    assert status == 200 and '"OK"' in stream.rpartition("event: end")[2], stream
    assert cluster.status("n2", vmid) == "stopped"
