"""How old /cluster/resources gets. Runs inside a node, by its own python3.

python3 watch.py TOKEN VMID,…     asks this node's page again and again, until its standard input ends;
                                  prints a line for each change: {"vmid", "status", "at"}, seconds of the
                                  machine's one monotonic clock, and at the end {"stood_still_s": {VMID: …},
                                  "asked": N}: how long each guest's row stood still at most while it ran

A running guest's row says how many seconds it is up, so each new report of its node changes it.
"""

import http.client
import json
import select
import ssl
import sys
import time

EVERY_S = 0.02


def main(token: str, vmids: str) -> None:
    watched = {int(word) for word in vmids.split(",")}
    trust = ssl._create_unverified_context()
    page = http.client.HTTPSConnection("127.0.0.1", 8006, timeout=10, context=trust)
    rows: dict[int, dict] = {}
    since: dict[int, float] = {}
    still: dict[int, float] = {}
    asked = 0
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        page.request("GET", "/api2/json/cluster/resources?type=vm", headers={"Authorization": token})
        told = json.loads(page.getresponse().read())["data"]
        at, asked = time.monotonic(), asked + 1
        for row in told:
            vmid = row["vmid"]
            if vmid not in watched or row == rows.get(vmid):
                continue
            before = rows.get(vmid)
            if before is None or before["status"] != row["status"]:
                print(json.dumps({"vmid": vmid, "status": row["status"], "at": at}), flush=True)
            elif row["status"] == "running" and vmid in since:
                still[vmid] = max(still.get(vmid, 0.0), at - since[vmid])
            rows[vmid], since[vmid] = row, at
    print(json.dumps({"stood_still_s": still, "asked": asked}), flush=True)


main(*sys.argv[1:])
