"""Changes guests behind our daemons' back. Runs inside a node, by its own python3.

python3 disturb.py PAUSE_S VMID…     ends each QEMU with SIGKILL, one after the other; prints {VMID: at},
                                     seconds of the machine's one monotonic clock
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(pause_s: str, *vmids: str) -> None:
    told = {}
    for vmid in vmids:
        pid = int(Path(f"/run/qemu-server/{vmid}.pid").read_text())
        told[vmid] = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        time.sleep(float(pause_s))
    print(json.dumps(told))


main(*sys.argv[1:])
