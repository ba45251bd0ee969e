"""What corosync-qdevice says of itself."""

import asyncio
from pathlib import Path

import pytest

from kvorum.cluster.qdevice.status import NotRunning, ask, parse
from kvorum.core.errors import KvorumError

TEXT = (
    "OK\nQdevice information\n-------------------\nModel:\t\t\tNet\nHB interval:\t\t3000ms\n"
    "Configured node list:\n    0\tNode ID = 1\nRing ID:\t\t1.9\n\nQdevice-net information\n"
    "----------------------\nQNetd host:\t\t198.18.10.201:5403\nHB interval:\t\t2400ms\nState:\t\tConnected\n"
)


def test_a_status_becomes_its_labels() -> None:
    assert parse(TEXT) == {
        "Model": "Net",
        "HB interval": "3000ms",
        "Ring ID": "1.9",
        "QNetd host": "198.18.10.201:5403",
        "State": "Connected",
    }
    with pytest.raises(KvorumError, match="Unknown command"):
        parse("Error\nUnknown command 'x'\n")


async def test_the_daemon_is_asked_over_its_socket(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"status verbose\n"
        writer.write(TEXT.encode())
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "sock"):
        assert (await ask(tmp_path / "sock"))["State"] == "Connected"
    with pytest.raises(NotRunning, match="does not run on this node"):
        await ask(tmp_path / "none")
