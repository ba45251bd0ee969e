"""The baseline: a live migration by nothing but QMP. Runs inside a node, by its own python3.

python3 bare_qmp.py SOCKET migrate tcp:HOST:PORT [KEYS]   prints {"total_ms", "downtime_ms"} when it is done;
                                                          with a folder of keys (tls-creds-psk), under TLS
python3 bare_qmp.py SOCKET quit
"""

import json
import socket
import sys
import time


def main(path: str, verb: str, *arguments: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        stream = connection.makefile("rw")

        def run(command: str, **values: object) -> dict:
            stream.write(json.dumps({"execute": command, "arguments": values}) + "\n")
            stream.flush()
            while "return" not in (answer := json.loads(stream.readline())):
                if "error" in answer:
                    sys.exit(answer["error"]["desc"])
            return answer["return"]

        stream.readline()
        run("qmp_capabilities")
        if verb == "quit":
            run("quit")
            return
        run("migrate-set-parameters", **{"max-bandwidth": 1 << 40, "downtime-limit": 100, "tls-creds": ""})
        if arguments[1:]:
            creds = {"qom-type": "tls-creds-psk", "id": "out", "endpoint": "client", "username": "qemu"}
            run("object-add", **creds, dir=arguments[1])
            run("migrate-set-parameters", **{"tls-creds": "out"})
        run("migrate", uri=arguments[0])
        while (told := run("query-migrate"))["status"] not in ("completed", "failed", "cancelled"):
            time.sleep(0.01)
        if told["status"] != "completed":
            sys.exit(told.get("error-desc", told["status"]))
        print(json.dumps({"total_ms": told["total-time"], "downtime_ms": told["downtime"]}))


main(*sys.argv[1:])
