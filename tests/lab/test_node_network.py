"""A node's network is changed through the API, and comes back by itself when the change cuts the node off.

A lab of its own: n1 and n2 with Debian's ifupdown2 on n1. The tests build upon one another in their order.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from lab_browser import look, signed_in
from lab_cluster import Cluster, _links, address, join
from playwright.sync_api import expect

from kvorum.lab import Lab
from kvorum.lab.plan import Plan

pytestmark = pytest.mark.timeout(300)
INTERFACES = """\
# Anna made this.
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
\taddress 198.18.10.1/24

auto eth1
iface eth1 inet static
\taddress 198.18.11.1/24

iface eth2 inet manual

auto vmbr0
iface vmbr0 inet static
\taddress 198.18.12.1/24
\tbridge-ports eth2
\tbridge-stp off
\tbridge-fd 0
# the guests' bridge
"""
FILE = "/etc/network/interfaces"
BRIDGE = "198.18.12.1"
"""Where the client of these tests reaches n1: an address of vmbr0, which is no link of the cluster."""
SOAK = bool(os.environ.get("KVORUM_SOAK"))
REVERT_S = 10
APPLY_MS = 90_000
DONE = ("OK", "WARNINGS: 1")
"""ifupdown2 complains of what a container lacks, and ends with 1; of no interface."""


class Client:
    """Root at the API, over the network, at one address of n1."""

    def __init__(self, cluster: Cluster, at: str = BRIDGE) -> None:
        self._cluster, self._at, self._headers = cluster, at, dict[str, str]()
        authority = cluster.say("n1", "cat", "/etc/pve/pve-root-ca.pem")
        self._tls = ssl.create_default_context(cadata=authority)
        secret = {"username": "root@pam", "password": cluster.lab.password}
        data = self.ask("POST", "/access/ticket", secret)
        cookie = f"PVEAuthCookie={urllib.parse.quote(data['ticket'], safe='')}"
        self._headers = {"Cookie": cookie, "CSRFPreventionToken": data["CSRFPreventionToken"]}

    def ask(self, verb: str, path: str, body: dict[str, str] | None = None, timeout_s: float = 20.0) -> Any:
        """The data of the answer; raises ``OSError`` when n1 is not reachable."""
        with self._cluster.lab.socket() as plain:
            plain.settimeout(timeout_s)
            plain.connect((self._at, 8006))
            connection = http.client.HTTPSConnection("n1", 8006)
            secure = connection.sock = self._tls.wrap_socket(plain, server_hostname="n1")
        with secure, contextlib.closing(connection):
            kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            form = urllib.parse.urlencode(body) if body else None
            connection.request(verb, f"/api2/json{path}", form, {**kind, **self._headers})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, (answer.status, answer.reason, text)
            return json.loads(text)["data"]

    def apply(self) -> tuple[str, int]:
        """Apply what is pending as known clients do: ask for the task until it ends. Its end, and how often
        n1 was not reachable meanwhile."""
        upid = self.ask("PUT", "/nodes/n1/network", {"revert-after": str(REVERT_S)})
        silent, until = 0, time.monotonic() + 60
        while time.monotonic() < until:
            try:
                task = self.ask("GET", f"/nodes/n1/tasks/{upid}/status", timeout_s=1.0)
            except OSError:
                silent += 1
                continue
            if task["status"] == "stopped":
                return task["exitstatus"], silent
        raise AssertionError("the task did not end, or n1 was not reachable again")


def configured(cluster: Cluster) -> str:
    return cluster.say("n1", "cat", FILE)


def addresses(cluster: Cluster, interface: str) -> list[str]:
    shown = json.loads(cluster.say("n1", "ip", "-json", "-4", "address", "show", interface))
    return [f"{a['local']}/{a['prefixlen']}" for a in shown[0]["addr_info"]]


@pytest.fixture(scope="module")
def pair(make_module_lab: Callable[[Plan], Lab]) -> Cluster:
    cluster = Cluster(make_module_lab(Plan(2)))
    cluster.say("n1", "sh", "-c", f"mkdir -p /etc/network && cat >{FILE}", input=INTERFACES)
    cluster.say("n1", "apt-get", "update")
    cluster.say("n1", "apt-get", "install", "--yes", "-o", "Dpkg::Options::=--force-confold", "ifupdown2")
    cluster.say("n1", "systemctl", "start", "networking")  # as at boot
    return cluster


def test_a_bridge_made_through_the_api_is_there_once_the_client_was_heard(pair: Cluster) -> None:
    client = Client(pair)
    new = {"iface": "vmbr9", "type": "bridge", "cidr": "198.18.99.1/24", "autostart": "1"}
    client.ask("POST", "/nodes/n1/network", new)
    assert configured(pair) == INTERFACES, "it waits"
    assert client.apply()[0] in DONE
    assert addresses(pair, "vmbr9") == ["198.18.99.1/24"]
    assert configured(pair).startswith(INTERFACES) and "iface vmbr9 inet static" in configured(pair)
    assert pair.run("n1", "test", "-e", f"{FILE}.new").returncode != 0
    client.ask("DELETE", "/nodes/n1/network/vmbr9")
    assert client.apply()[0] in DONE
    assert pair.run("n1", "test", "-e", "/sys/class/net/vmbr9").returncode != 0
    assert configured(pair) == INTERFACES


def test_a_bridge_is_made_applied_and_its_removal_taken_back_by_clicks(pair: Cluster) -> None:
    with signed_in(pair.lab, "n1") as page:
        page.goto(re.sub(r"#.*", "", page.url) + "#/node/n1/network")
        main, dialog = page.locator("#main"), page.get_by_role("dialog")
        page.get_by_role("button", name="Create", exact=True).click()
        page.get_by_role("menuitem", name="Bridge").click()
        expect(page.locator("#iface")).to_have_value("vmbr1")
        page.locator("#cidr").fill("198.18.98.1/24")
        look(page, "network-create")
        dialog.get_by_role("button", name="Create").click()
        expect(main.get_by_role("row", name=re.compile("^vmbr1 "))).to_contain_text("198.18.98.1/24")
        expect(page.locator(".kv-diff")).to_contain_text("+iface vmbr1 inet static")
        assert configured(pair) == INTERFACES, "it waits"
        look(page, "network-waits")
        page.get_by_role("button", name="Apply configuration").click()
        dialog.get_by_role("button", name="Apply configuration").click()
        expect(page.get_by_text("The new configuration is in force.")).to_be_visible(timeout=APPLY_MS)
        look(page, "network-applied")
        dialog.get_by_role("contentinfo").get_by_role("button", name="Close").click()
        expect(page.locator(".kv-diff")).to_have_count(0)
        followed = page.locator(".kv-tasks tr[aria-selected=true] .kv-result")
        expect(followed).to_have_text(re.compile("OK|WARNINGS: 1"))
        assert addresses(pair, "vmbr1") == ["198.18.98.1/24"]

        page.get_by_role("button", name="Actions of vmbr1").click()
        page.get_by_role("menuitem", name="Remove").click()
        dialog.get_by_role("button", name="Remove").click()
        expect(page.locator(".kv-diff")).to_contain_text("-iface vmbr1 inet static")
        page.get_by_role("button", name="Take back").click()
        expect(page.locator(".kv-diff")).to_have_count(0)
        expect(main.get_by_role("row", name=re.compile("^vmbr1 "))).to_be_visible()
    assert "iface vmbr1 inet static" in configured(pair)
    assert pair.run("n1", "test", "-e", f"{FILE}.new").returncode != 0
    pair.say("n1", "sh", "-c", f"cat >{FILE} && ip link delete vmbr1", input=INTERFACES)


def test_an_address_that_cuts_the_client_off_goes_and_the_old_one_returns(pair: Cluster) -> None:
    client = Client(pair)
    client.ask("PUT", "/nodes/n1/network/vmbr0", {"type": "bridge", "cidr": "198.18.77.1/24"})
    end, silent = client.apply()
    assert silent, "the node had the wrong address for a while"
    assert "nothing heard from who asked for the change; the old configuration is back" in end
    assert (addresses(pair, "vmbr0"), configured(pair)) == ([f"{BRIDGE}/24"], INTERFACES)
    assert "198.18.77.1/24" in pair.say("n1", "cat", f"{FILE}.new"), "the change still waits"
    client.ask("DELETE", "/nodes/n1/network")


def test_a_node_that_loses_the_others_takes_its_links_back(pair: Cluster) -> None:
    pair.say("n1", "pvecm", "create", "walk", *_links(pair.lab, "n1"))
    join(pair, "n2", address(pair.lab, "n1", 0))
    pair.settled(("n1", "n2"))
    for link in (0, 1):
        wrong = ("--type", "eth", "--cidr", f"198.18.7{link}.1/24")
        pair.say("n1", "pvesh", "set", f"/nodes/n1/network/eth{link}", *wrong)
    said = pair.fails("n1", "pvesh", "set", "/nodes/n1/network", "--revert-after", str(REVERT_S))
    assert "no answer from n2, no quorum; the old configuration is back" in said
    assert (addresses(pair, "eth0"), configured(pair)) == (["198.18.10.1/24"], INTERFACES)
    pair.settled(("n1", "n2"))


@pytest.mark.parametrize(
    "end",
    [
        "the daemon is killed",
        pytest.param("power is cut", marks=pytest.mark.skipif(not SOAK, reason="CI has no room for all")),
    ],
)
def test_what_breaks_off_before_it_is_known_to_work_is_undone_at_the_next_start(
    pair: Cluster, end: str
) -> None:
    pair.say("n1", "pvesh", "set", "/nodes/n1/network/vmbr0", "--type", "bridge", "--cidr", "198.18.77.1/24")
    with pair.following("n1", "pvesh", "set", "/nodes/n1/network"):
        pair.until("n1", "ip -4 address show vmbr0 | grep -q 198.18.77.1")
        assert "198.18.77.1/24" in configured(pair)
        if end == "power is cut":
            pair.lab.cut("n1")
        else:
            pair.say("n1", "systemctl", "kill", "--signal", "KILL", "pvedaemon")
    if end == "power is cut":
        pair.lab.power("n1")
    pair.until("n1", f"ip -4 address show vmbr0 | grep -q {BRIDGE}/24")
    pair.until("n1", f"! test -e {FILE}.before")
    pair.settled(("n1", "n2"))
    assert (addresses(pair, "vmbr0"), configured(pair)) == ([f"{BRIDGE}/24"], INTERFACES)
    pair.say("n1", "pvesh", "delete", "/nodes/n1/network")


def test_a_guest_with_a_tag_does_not_start_on_a_kernel_without_vlans(pair: Cluster) -> None:
    if (
        pair.run(
            "n2", "ip", "link", "add", "link", "eth2", "name", "probe.5", "type", "vlan", "id", "5"
        ).returncode
        == 0
    ):
        pair.say("n2", "ip", "link", "delete", "probe.5")
        pytest.skip("this kernel has VLANs")
    pair.create("n2", 8700, "--net0", "virtio,bridge=vmbr0,tag=5")
    assert "net0: the VLAN's bridge 'vmbr0v5' can't be made: this node's kernel has no VLANs" in pair.fails(
        "n2", "qm", "start", "8700"
    )
    assert pair.traces("n2", 8700) == [] and pair.run("n2", "test", "-e", "/sys/class/net/vmbr0v5").returncode
    pair.say("n2", "qm", "destroy", "8700")


def test_a_card_has_its_queues_and_its_rate_plugged_too(pair: Cluster) -> None:
    pair.create("n2", 8701, "--net0", "virtio,bridge=vmbr0,queues=2,rate=1.5")
    pair.say("n2", "qm", "start", "8701")
    pair.say("n2", "qm", "set", "8701", "--net1", "virtio,bridge=vmbr0,queues=4,rate=2,link_down=1")
    for number, bits in ((0, "12Mbit"), (1, "16Mbit")):
        assert f"rate {bits}" in pair.say("n2", "tc", "qdisc", "show", "dev", f"tap8701i{number}")
    pid = pair.pid("n2", 8701)
    taps = pair.say("n2", "sh", "-c", f"ls -l /proc/{pid}/fd | grep -c /dev/net/tun")
    assert int(taps) == 2 + 4, "a descriptor for each queue"
    pair.say("n2", "qm", "stop", "8701")
    pair.say("n2", "qm", "destroy", "8701")
