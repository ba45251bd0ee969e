"""What answers is what is described: schemathesis asks ``kvorum serve`` everything that needs no VM.

It runs 40 s, or 10 minutes with KVORUM_SOAK. Left out is what acts on the host that runs the tests: Corosync,
network, time, passwords, QEMU.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Served

SECONDS = 600 if os.environ.get("KVORUM_SOAK") else 40
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 200)]

ACTS_ON_THE_HOST = re.compile(r"/cluster/config|/kvorum/|/access/(ticket|password|tfa)|/qemu")
CHANGES_THE_NODE = re.compile(r"/nodes/\{node\}/(?!storage|tasks)")


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
    login = served.login()
    node = served.call("GET", "/api2/json/nodes", headers=login)["data"][0]["node"]
    document = harmless(served.call("GET", "/api2/openapi.json"), node, tmp_path / "storage")
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(document))
    checks = "status_code_conformance,response_schema_conformance,content_type_conformance"
    headers = [word for name, value in login.items() for word in ("-H", f"{name}: {value}")]
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
