"""What the store's daemon brings along."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
from kvorum.store.daemon import _without_trio
with _without_trio():
    import kvorum.store.mount
assert not [name for name in sys.modules if name.split(".")[0] == "trio"], "loaded, or its place is taken"
import trio
assert trio.Lock
with _without_trio():
    assert sys.modules["trio"] is trio, "who has it keeps it"
"""


def test_the_daemon_does_without_trio_and_leaves_it_to_others() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
