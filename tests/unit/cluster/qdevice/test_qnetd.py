"""QNetd's machine as a setup finds it: off, masked, broken, or serving already."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kvorum.cluster.qdevice.qnetd import QnetdHost
from kvorum.core.errors import KvorumError


class Machine:
    """A root shell on a machine whose corosync-qnetd is in some state."""

    address = "10.0.0.9"

    def __init__(self, state: str) -> None:
        self.state, self.authority, self.ran = state, False, list[str]()

    async def succeeds(self, argv: Sequence[str]) -> bool:
        words = " ".join(argv)
        self.ran.append(words)
        if "= masked ]" in words:
            return self.state == "masked"
        if words.startswith("systemctl enable --now"):
            self.state = "running" if self.state in ("off", "running") else self.state
            return self.state == "running"
        if "is-active" in words:
            return self.state == "running"
        return self.authority if "qnetd-cacert" in words else True

    async def run(self, argv: Sequence[str], input: bytes = b"", *, timeout: float = 60.0) -> bytes:
        self.ran.append(" ".join(argv))
        if "-l" in argv:
            assert self.state == "running", "the tool asks the daemon"
            return b"Cluster home:\n    Node ID 1:\n    Node ID 2:\n"
        return b""


async def test_a_qnetd_that_is_off_serves_nobody_and_is_started() -> None:
    machine = Machine("off")
    host = QnetdHost(machine)
    assert await host.served("home") == 0
    await host.start()
    assert machine.state == "running"
    assert "corosync-qnetd-certutil -i -G" in machine.ran, "an authority was missing"
    assert await host.served("home") == 2


async def test_a_masked_qnetd_is_a_sentence_with_what_to_do() -> None:
    host = QnetdHost(Machine("masked"))
    with pytest.raises(KvorumError, match="run 'systemctl unmask corosync-qnetd' there"):
        await host.check_startable()
    with pytest.raises(KvorumError, match="masked"):
        await host.start()


async def test_a_qnetd_that_does_not_start_names_its_journal() -> None:
    with pytest.raises(KvorumError, match=r"does not start .* see 'journalctl -u corosync-qnetd'"):
        await QnetdHost(Machine("broken")).start()
