"""What a cluster takes to form on real nodes: create, joins to eight, a removal; for ``bench/cluster.py``.

Each is measured in the node itself, from the start of the command to /etc/pve in sync (quorate, with all
members, the mirror at the cluster's configuration) and the page answering. The baseline of the same run is
what Corosync alone takes: a second process started beside a first that lists it already, to the membership
of both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from figures import median, ratio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "lab"))

from corosync_ring import corosync_ring
from lab_cluster import Cluster, address

from kvorum.lab import Lab
from kvorum.lab.commands import cached_roots, find_deb
from kvorum.lab.plan import Plan

NODES = 8
GOALS_S = {"create": 5.0, "join": 8.0, "eight_nodes": 90.0, "delnode": 5.0}

_MEASURE = """
import http.client, json, ssl, subprocess, sys, time
wanted, argv = sys.argv[1].split(","), sys.argv[2:]
begun = time.monotonic()
done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
said = time.monotonic() - begun
if done.returncode:
    sys.exit(done.stdout + done.stderr)

def here():
    shown = json.load(open("/etc/pve/.members"))
    online = sorted(name for name, node in shown["nodelist"].items() if node["online"])
    same = open("/etc/pve/corosync.conf").read() == open("/etc/corosync/corosync.conf").read()
    return shown["cluster"]["quorate"] == 1 and online == wanted and same

def page():
    trust = ssl._create_unverified_context()
    asked = http.client.HTTPSConnection("127.0.0.1", 8006, timeout=2, context=trust)
    asked.request("GET", "/")
    return asked.getresponse().status == 200

end = time.monotonic() + 60
for look in (here, page):
    while True:
        try:
            if look():
                break
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            pass
        if time.monotonic() > end:
            sys.exit(f"{argv}: not whole within 60 s: {look.__name__}")
        time.sleep(0.01)
print(json.dumps([said, time.monotonic() - begun]))
"""


def forming() -> dict[str, object]:
    """The figures, in seconds; a lab of eight nodes comes and goes."""
    plan = Plan(NODES)
    with tempfile.TemporaryDirectory(prefix="kvorum-bench-", dir="/var/tmp") as directory:
        lab = Lab(Path(directory))
        try:
            lab.up(plan, cached_roots(plan, find_deb("auto")), page_port=None)
            rows = _formed(Cluster(lab))
        finally:
            lab.down()
    bare = median([_bare() for _ in range(3)])
    joins = rows.pop("joins")
    assert isinstance(joins, list)
    return {
        **rows,
        "join_s": {"first": joins[0], "median": median(joins), "max": max(joins)},
        "corosync_alone_s": bare,
        "join_ratio": ratio(median(joins), bare),
        "forming_goals_s": GOALS_S,
    }


def _formed(cluster: Cluster) -> dict[str, object]:
    names = [f"n{number}" for number in range(1, NODES + 1)]
    begun = time.monotonic()
    create = _measured(cluster, "n1", names[:1], "pvecm", "create", "bench", *_links(cluster, "n1"))
    joins = []
    for count, node in enumerate(names[1:], 2):
        token = json.loads(cluster.say("n1", "pvecm", "token", "--output-format", "json"))["token"]
        argv = ["pvecm", "add", address(cluster.lab, "n1", 0), "--token", token, *_links(cluster, node)]
        joins.append(_measured(cluster, node, names[:count], *argv))
        print(f"{node} joined after {joins[-1]:.2f} s", file=sys.stderr)
    formed = round(time.monotonic() - begun, 3)
    cluster.lab.cut(names[-1])
    cluster.settled(names[:-1])
    removal = _measured(cluster, "n1", names[:-1], "pvecm", "delnode", names[-1])
    return {"create_s": create, "joins": joins, "eight_nodes_s": formed, "delnode_s": removal}


def _measured(cluster: Cluster, node: str, members: list[str], *argv: str) -> float:
    script = ["python3", "-c", _MEASURE, ",".join(sorted(members)), *argv]
    said, whole = json.loads(cluster.say(node, *script, timeout_s=180).splitlines()[-1])
    print(f"{' '.join(argv[:2])}: the command {said:.2f} s, whole {whole:.2f} s", file=sys.stderr)
    return round(float(whole), 3)


def _links(cluster: Cluster, node: str) -> list[str]:
    return [word for n in (0, 1) for word in (f"--link{n}", address(cluster.lab, node, n))]


def _bare() -> float:
    with corosync_ring(2, start=False) as ring:
        ring.start(1)
        begun = time.monotonic()
        ring.start(2)
        for number in (1, 2):
            ring.wait_members(number, (1, 2))
        return time.monotonic() - begun
