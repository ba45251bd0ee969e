"""Walks the steps of a cluster's changes on real nodes: a fault at one of them, then everything is looked at.

Afterwards the change must be wholly in or wholly out on every node, and a second try must work. What is
walked is in ``change_cases.py``, how a daemon is held in ``held.py``.
"""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from change_cases import Case
from held import arm, held, hold_daemons
from lab_cluster import FINGERPRINT, Cluster, address

from kvorum.lab import LabError

WHOLE_S = 120.0
"""How long after the fault's end everything may take to be whole."""
COMMAND_S = 240.0
SHORT_S = 3.0
"""A partition that corosync notices and a command outlives."""
SECOND = """[Unit]
Description=Another address of this machine
Before=corosync.service
[Service]
Type=oneshot
ExecStart=/usr/sbin/ip address replace {0}/25 dev eth0
[Install]
WantedBy=multi-user.target
"""
TRY = "date 2>/dev/null > /etc/pve/walked-$(hostname) && rm /etc/pve/walked-$(hostname)"
"""Whether /etc/pve can be written."""

LOOK = """
import json, os, re, subprocess
UNENDED = ("/var/lib/kvorum/cluster-change.json", "/etc/pve/link-change.json")
def text(path):
    try:
        return open(path).read()
    except OSError:
        return None
store, disk = text("/etc/pve/corosync.conf"), text("/etc/corosync/corosync.conf")
try:
    seen = json.load(open("/etc/pve/.members"))
except (OSError, ValueError):
    seen = {}
running = subprocess.run(["corosync-cmapctl", "-g", "totem.config_version"], capture_output=True, text=True)
nodes = dict(re.findall(r"name: (\\S+).*?quorum_votes: (\\d+)", store or "", flags=re.S))
addresses = dict(re.findall(r"name: (\\S+)[^}]*?ring0_addr: (\\S+)", store or ""))
active = lambda unit: subprocess.run(["systemctl", "is-active", "-q", unit]).returncode == 0
cluster = seen.get("cluster", {})
print(json.dumps({
    "votes": nodes if store is not None else None,
    "addresses": addresses,
    "version": re.findall(r"config_version: (\\d+)", store or ""),
    "on disk": store == disk,
    "runs": re.findall(r"= (\\d+)", running.stdout),
    "corosync": active("corosync"),
    "key": os.path.exists("/etc/corosync/authkey"),
    "mark": (text("/etc/pve/mark") or "").strip(),
    "certificate": os.path.exists(f"/etc/pve/nodes/{os.uname().nodename}/pve-ssl.pem"),
    "online": sorted(n for n, node in seen.get("nodelist", {}).items() if node["online"]),
    "quorate": cluster.get("quorate", 1 if seen else 0),
    "unfinished": any(map(os.path.exists, UNENDED)),
    "daemons": active("pve-cluster") and active("pvedaemon") and active("pveproxy"),
}))
"""


@dataclass
class Walk:
    """A lab of three nodes, and who of them is in n1's cluster."""

    cluster: Cluster
    members: list[str] = field(default_factory=list)
    _tries: int = 0

    def __post_init__(self) -> None:
        hold_daemons(self.cluster, ("n1", "n2", "n3"))
        unit = "/etc/systemd/system/second-address.service"
        self.cluster.say("n2", "sh", "-c", f"cat > {unit}", input=SECOND.format(self._places[1]))
        self.cluster.say("n2", "systemctl", "enable", "--now", "second-address")

    @property
    def _places(self) -> tuple[str, str]:
        """n2's two addresses on link 0."""
        first = address(self.cluster.lab, "n2", 0)
        return first, f"{first}2"

    # One case

    def carry_out(self, case: Case) -> str:
        """Make the fault, look at all nodes, try again, look again; returns what the first try said."""
        self.bring(case.change)
        doer, other = self.roles(case.change)
        before = self._state(self.look(doer))
        command = self.command(case.change, doer, other)
        target = doer if case.at == "T" else other
        with ThreadPoolExecutor(1) as pool:
            arm(self.cluster, target, case.point)
            told = pool.submit(self._said, doer, command)
            with held(self.cluster, target):
                self._strike(case, doer, other)
            if case.late:
                _ended(told)
            elif case.fault == "partition":
                time.sleep(SHORT_S)  # the fault itself: it lasts so long
            self._mend(case, doer, other)
            status, said = _ended(told)
        if case.fault == "cut T":
            status = None  # of the power cut, not of the command
        done = self.whole(case, doer, before)
        if status == 0:
            assert done, f"{case}: it said that it is done, and it is not: {said}"
        elif status is not None:
            assert said.strip(), f"{case}: it failed and said nothing"
            if "set back as it was" in said:
                assert not done, f"{case}: it said that it was set back, and it was not: {said}"
        if not done:
            again, words = self._said(doer, self.command(case.change, doer, other))
            assert again == 0, f"{case}: the second try failed: {words}\nthe first: {said}"
            assert self.whole(case, doer, before), f"{case}: the second try did nothing"
        self._account(case.change, doer)
        return said

    def roles(self, change: str) -> tuple[str, str]:
        """Who makes the change, and the other."""
        match change:
            case "create":
                return ("n3" if self.members else "n1"), ""
            case "join one" | "leave two":
                return "n2", "n1"
            case "join" | "leave":
                return "n3", "n1"
            case _:
                return "n1", "n2"

    def command(self, change: str, doer: str, other: str) -> list[str]:
        """What is run on ``doer``; a join goes by a token and by a password in turns."""
        lab = self.cluster.lab
        links = [word for n in (0, 1) for word in (f"--link{n}", address(lab, doer, n))]
        match change.split()[0]:
            case "create":
                return ["pvecm", "create", "walk", *links]
            case "join":
                self._tries += 1
                peer = address(lab, other, 0)
                if self._tries % 2 == 0:
                    secret = json.loads(self.cluster.say(other, "pvecm", "token", "--output-format", "json"))
                    return ["pvecm", "add", peer, "--token", secret["token"], *links]
                shown = self.cluster.say(
                    doer, "pvesh", "get", "/kvorum/cluster/fingerprint", "--hostname", peer
                )
                found = FINGERPRINT.search(shown)
                assert found is not None, shown
                argv = ["pvecm", "add", peer, "--fingerprint", found[0], *links]
                return ["sh", "-c", f'echo "{lab.password}" | "$@"', "sh", *argv]
            case "leave":
                return ["pvecm", "leave"]
            case "votes":
                return ["pvecm", "votes", doer, str(self._wanted(doer))]
            case "edit":
                from test_votes import edit

                return list(edit(doer, self._wanted(doer)))
            case "delnode":
                return ["pvecm", "delnode", "n3"]
            case "address":
                first, second = self._places
                there = self.look(doer)["addresses"]["n2"]  # type: ignore[index]
                return ["pvecm", "link", "set", "n2", "--link0", second if there == first else first]
        raise AssertionError(change)

    def _wanted(self, node: str) -> int:
        return 3 - int(self.look(node)["votes"][node])

    def _said(self, node: str, argv: list[str]) -> tuple[int | None, str]:
        """Run a command; ``None`` instead of its status when the node's power went."""
        try:
            done = self.cluster.run(node, *argv, timeout_s=COMMAND_S)
        except LabError as error:
            return None, str(error)
        return done.returncode, done.stdout + done.stderr

    def _strike(self, case: Case, doer: str, other: str) -> None:
        match case.fault:
            case "cut T":
                self.cluster.lab.cut(doer)
            case "cut P":
                self.cluster.lab.cut(other)
            case "partition":
                self.cluster.lab.partition(f"{doer}|{other}")

    def _mend(self, case: Case, doer: str, other: str) -> None:
        match case.fault:
            case "cut T":
                self.cluster.lab.power(doer)
            case "cut P":
                self.cluster.lab.power(other)
            case "partition":
                self.cluster.lab.heal()

    # What is looked at

    def look(self, node: str) -> dict[str, object]:
        """What a node is now, by its files and its corosync."""
        seen: dict[str, object] = json.loads(self.cluster.say(node, "python3", "-c", LOOK))
        return seen

    def whole(self, case: Case, doer: str, before: object) -> bool:
        """Wait until the change is wholly in, or wholly out, on every node; whether it is in."""
        nodes = ["n1", "n2"] if case.change == "delnode" else ["n1", "n2", "n3"]
        until = time.monotonic() + WHOLE_S
        while True:
            looks = {node: self.look(node) for node in nodes}
            for done in (True, False):
                if all(self._fits(case, node, doer, looks[node], before, done) for node in nodes):
                    for node in nodes:
                        self.cluster.until(node, TRY, 10)
                    return done
            said = "\n".join(f"{node}: {seen}" for node, seen in looks.items())
            assert time.monotonic() < until, f"{case}: neither in nor out after {WHOLE_S:g} s:\n{said}"

    def _cluster_of(self, case: Case, node: str, doer: str, done: bool) -> set[str]:
        """The members that a node should list; empty: it should be one of its own."""
        members, kind = set(self.members), case.change.split()[0]
        if node == doer:
            match kind, done:
                case "create", _:
                    return {doer} if done else set()
                case ("join", False) | ("leave", True):
                    return set()
        elif node not in members:
            return set()
        if kind == "join" and done:
            members |= {doer}
        elif done and kind in ("leave", "delnode"):
            members -= {doer} if kind == "leave" else {"n3"}
        return members

    def _state(self, seen: dict[str, object]) -> object:
        """What a change of votes or of an address changes."""
        return seen["votes"], seen["addresses"]

    def _fits(
        self, case: Case, node: str, doer: str, seen: dict[str, object], before: object, done: bool
    ) -> bool:
        """Whether what a node is, is what it should be if the change is in (``done``) or out."""
        kind, members = case.change.split()[0], self._cluster_of(case, node, doer, done)
        if seen["unfinished"] or not (seen["daemons"] and seen["certificate"] and seen["quorate"]):
            return False
        if not members:
            own = "" if kind == "leave" and node == doer else node
            return not (seen["votes"] or seen["corosync"] or seen["key"]) and seen["mark"] == own
        return (
            set(seen["votes"] or ()) == members  # type: ignore[call-overload]
            and seen["on disk"] is True
            and seen["runs"] == seen["version"]
            and set(seen["online"]) == members - ({"n3"} if kind == "delnode" else set())  # type: ignore[call-overload]
            and not (kind == "join" and node == doer == seen["mark"])
            and (kind not in ("votes", "edit", "address") or (self._state(seen) == before) != done)
        )

    # From one case to the next

    def bring(self, change: str) -> None:
        """Make the cluster that the change begins with."""
        wanted = {
            "create": self.members if not self.members else ["n1", "n2"],
            "join one": ["n1"],
            "join": ["n1", "n2"],
            "votes": ["n1", "n2"],
            "edit": ["n1", "n2"],
            "address two": ["n1", "n2"],
            "leave two": ["n1", "n2"],
        }.get(change, ["n1", "n2", "n3"])
        for node in [node for node in reversed(self.members) if node not in wanted]:
            self.cluster.say(node, "pvecm", "leave", timeout_s=COMMAND_S)
            self.members.remove(node)
        for node in [node for node in wanted if node not in self.members]:
            kind = "join" if self.members else "create"
            self.cluster.say(node, *self.command(kind, node, "n1"), timeout_s=COMMAND_S)
            self.members.append(node)
        for node in ("n1", "n2", "n3"):
            self.cluster.until(node, f"! test -e /var/lib/kvorum/cluster-change.json && {TRY}", 60)
            if node not in self.members:
                self.cluster.say(node, "sh", "-c", f"echo {node} > /etc/pve/mark")
        if self.members:
            self.cluster.settled(self.members)
        if change == "delnode":
            self.cluster.lab.cut("n3")
            self.cluster.settled(["n1", "n2"])

    def _account(self, change: str, doer: str) -> None:
        match change.split()[0]:
            case "create" if self.members:
                self.cluster.say(doer, "pvecm", "leave", timeout_s=COMMAND_S)
            case "create" | "join":
                self.members.append(doer)
            case "leave":
                self.members.remove(doer)
            case "delnode":
                self.members.remove("n3")
                self.cluster.lab.power("n3")
                self.cluster.until("n3", "test -s /var/lib/pve-cluster/removed-from-cluster", 90)
                self.cluster.say("n3", "pvecm", "leave", timeout_s=COMMAND_S)


def _ended(told: Future[tuple[int | None, str]]) -> tuple[int | None, str]:
    try:
        return told.result(COMMAND_S + 30)
    except (subprocess.SubprocessError, TimeoutError) as error:
        raise AssertionError(f"the command did not end: {error}") from None
