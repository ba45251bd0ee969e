"""How the lab's client bears a warden that ends while it is asked."""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

import pytest

from kvorum.lab import Lab, LabError


def test_a_warden_that_is_killed_before_it_reads_is_one_that_ended() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as warden:
        lab = Lab(Path(folder))
        lab.places.socket.parent.mkdir(parents=True, exist_ok=True)
        warden.bind(str(lab.places.socket))
        warden.listen()

        def die() -> None:
            asked, _ = warden.accept()
            asked.recv(1, socket.MSG_PEEK)  # the request is there, unread
            asked.close()

        dying = threading.Thread(target=die)
        dying.start()
        with pytest.raises(LabError, match="warden ended while it did 'down'"):
            lab._ask("down")
        dying.join(10)
