"""What answers is what is described: schemathesis asks ``kvorum serve`` everything that needs no VM.

It runs 40 s, or 10 minutes with KVORUM_SOAK. Left out is what acts on the host that runs the tests: Corosync,
network, time, passwords, QEMU.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import urllib3

SECONDS = 600 if os.environ.get("KVORUM_SOAK") else 40
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 200)]

ACTS_ON_THE_HOST = re.compile(r"/cluster/config|/kvorum/|/access/(ticket|password|tfa)|/qemu")
CHANGES_THE_NODE = re.compile(r"/nodes/\{node\}/(?!storage|tasks)")


class Served(NamedTuple):
    url: str
    headers: dict[str, str]
    log: Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """``kvorum serve`` under a directory of its own, and a login."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "kvorum.server.serve",
        "--dir",
        str(tmp_path / "node"),
        "--port",
        str(port),
    ]
    with log.open("w") as stream, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stream, text=True
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            said = process.stdout.readline() + process.stdout.readline()
            password = re.search(r"password (\S+)", said)
            assert password, said + log.read_text()
            url = f"https://127.0.0.1:{port}"
            form = {"username": "root@pam", "password": password[1]}
            data = call("POST", f"{url}/api2/json/access/ticket", data=form)["data"]
            headers = {
                "Cookie": f"PVEAuthCookie={data['ticket']}",
                "CSRFPreventionToken": data["CSRFPreventionToken"],
            }
            yield Served(url, headers, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def call(verb: str, url: str, **others: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        return requests.request(verb, url, verify=False, timeout=30, **others).json()


def harmless(document: dict[str, Any], node: str, directory: Path) -> dict[str, Any]:
    """The description without what acts on the host; the node is the real one, paths lie in ``directory``."""
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            changes = verb != "get"
            if ACTS_ON_THE_HOST.search(path) or (changes and CHANGES_THE_NODE.match(path)):
                continue
            for parameter in operation["parameters"]:
                if parameter["name"] == "node":
                    parameter["schema"] = {"enum": [node]}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "path" in (properties := content["schema"]["properties"]) and "/storage" in path:
                    properties["path"] = {"enum": [str(directory)]}
            paths.setdefault(path, {})[verb] = operation
    return {**document, "paths": paths}


def test_every_answer_is_one_that_is_described_and_none_is_an_incident(
    served: Served, tmp_path: Path
) -> None:
    node = call("GET", f"{served.url}/api2/json/nodes", headers=served.headers)["data"][0]["node"]
    document = harmless(call("GET", f"{served.url}/api2/openapi.json"), node, tmp_path / "storage")
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(document))
    checks = "status_code_conformance,response_schema_conformance,content_type_conformance"
    headers = [word for name, value in served.headers.items() for word in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", str(described),
            "--url", f"{served.url}/api2/json",
            "--tls-verify", "false", *headers, "--checks", checks, "--phases", "fuzzing", "--no-color",
            "--continue-on-failure", "--max-time", str(SECONDS), "--max-examples", str(10 * SECONDS // 40),
        ],
        capture_output=True, text=True, timeout=SECONDS + 120, cwd=tmp_path,
    )  # fmt: skip
    assert "incident" not in served.log.read_text(), served.log.read_text()[-5000:]
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"Test cases:\s+\d{2,} generated", done.stdout), done.stdout[-3000:]
