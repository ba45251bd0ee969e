"""Notes when QEMU stops and resumes its guest. Runs inside a node, by its own python3.

python3 events.py SOCKET     connects to the QMP socket whenever there is one; prints {"event", "at"} lines,
                             ``at`` in seconds of QEMU's own wall clock (the nodes of a lab share one)
"""

import json
import socket
import sys
import time


def follow(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        stream = connection.makefile("rw")
        stream.write('{"execute": "qmp_capabilities"}\n')
        stream.flush()
        for line in stream:
            told = json.loads(line)
            if told.get("event") in ("STOP", "RESUME"):
                when = told["timestamp"]
                at = when["seconds"] + when["microseconds"] / 1e6
                print(json.dumps({"event": told["event"], "at": at}), flush=True)


while True:
    try:
        follow(sys.argv[1])
    except BrokenPipeError:
        break
    except (OSError, ValueError):
        pass
    time.sleep(0.005)
