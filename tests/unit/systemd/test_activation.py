"""Sockets handed over by systemd, in a process of their own that has them as descriptor 3."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from kvorum.systemd.activation import inherited

CHILD = """
import os, sys
if int(sys.argv[2]) != 3:
    os.dup2(int(sys.argv[2]), 3)
if sys.argv[1] == "mine":
    os.environ["LISTEN_PID"] = str(os.getpid())
from kvorum.systemd.activation import inherited
print(*(f"{s.getsockname()[1]} {os.get_inheritable(s.fileno())}" for s in inherited()))
"""


@pytest.mark.parametrize(("whose", "told"), [("mine", "{port} False"), ("another's", "")])
def test_a_socket_is_taken_by_the_process_it_is_meant_for(whose: str, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = subprocess.run(
            [sys.executable, "-c", CHILD, whose, str(server.fileno())],
            pass_fds=[server.fileno()],
            env={**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == told.format(port=server.getsockname()[1])


def test_without_systemd_there_is_none() -> None:
    assert inherited({}) == []
    assert inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}) == []
