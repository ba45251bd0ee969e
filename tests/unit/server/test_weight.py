"""What the daemons load: memory is spent on what they use."""

import subprocess
import sys

import pytest

PROBE = """
import importlib, sys
importlib.import_module(sys.argv[1])
from kvorum.server import rooms
rooms.methods()
print(*sys.modules)
"""


@pytest.mark.parametrize("library", ["pyroute2", "dbus_fast", "rrdtool", "markdown_it", "prometheus_client"])
def test_pveproxy_loads_nothing_that_only_pvedaemon_needs(library: str, modules: frozenset[str]) -> None:
    assert library not in modules


@pytest.fixture(scope="module")
def modules() -> frozenset[str]:
    run = [sys.executable, "-c", PROBE, "kvorum.server.pveproxy"]
    return frozenset(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
