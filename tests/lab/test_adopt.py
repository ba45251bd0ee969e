"""Two nodes and a third vote: who comes up alone waits for the other, until an admin says that it is lost."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from corosync_ring import corosync_ring, unavailable

from kvorum.cluster.methods import adoption
from kvorum.cluster.methods.adoption import Adopt
from kvorum.core.errors import Conflict, NoQuorum
from kvorum.core.paths import Paths
from kvorum.interface import Context, Identity, NoParameters, Services
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store
from kvorum.store.host import Host
from kvorum.store.protocol import Ballot

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")


class Anything:
    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return True


class Log:
    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str) -> None:
        self.text += f"{text}\n"

    warn = line

    def progress(self, fraction: float, text: str = "") -> None: ...


def with_a_third_vote(votes: int, expected: int, *_: object) -> Ballot:
    """A node's ballot as it were with a QDevice that is with whoever asks."""
    return Ballot(votes, 3, 1, True) if votes else Ballot(0, expected)


async def until(host: Host, writable: bool, members: set[int]) -> None:
    changed = asyncio.Event()
    forget = host.listen(lambda _: changed.set())
    try:
        async with asyncio.timeout(30):
            while (
                host.status.writable is not writable or host.status.members != members or host.status.changing
            ):
                await changed.wait()
                changed.clear()
    finally:
        forget()


async def test_a_node_that_comes_up_alone_goes_on_when_the_other_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The third vote is played, since there is no QDevice here."""
    monkeypatch.setattr("kvorum.store.corosync_group.Ballot", with_a_third_vote)
    monkeypatch.setattr("kvorum.store.settling.settle_seconds", lambda *_: 0.2)
    with corosync_ring(2) as ring:

        def store(number: int) -> contextlib.AbstractAsyncContextManager[Host]:
            paths = Paths.under(tmp_path / f"n{number}")
            paths.corosync.mkdir(parents=True, exist_ok=True)
            (paths.corosync / "corosync.conf").write_text(ring.config())
            return running_store(
                paths, node=f"n{number}", fuse=False, corosync=True, inside=lambda: ring.inside(number)
            )

        async with store(1) as one:
            async with store(2) as two:
                await until(one, True, {1, 2})
                await until(two, True, {1, 2})
            await until(one, True, {1})  # directly from the view of both, with the third vote
            async with StoreClient(tmp_path / "n1" / "run" / "store.sock") as client:
                await client.write("only-n1-knows", b"1")

        async with store(2) as two, StoreClient(tmp_path / "n2" / "run" / "store.sock") as client:
            await until(two, False, {2})
            with pytest.raises(NoQuorum):
                await client.write("f", b"1")
            context = Context(client, Services(), Identity("root@pam"), Anything())
            said = await adoption.waiting_for(context, NoParameters())
            assert said.startswith("waiting for n1, last seen together at 20")
            log = Log()
            work = await adoption.adopt(context, Adopt(yes=True))
            await asyncio.wait_for(work.run(log), 30)
            assert said in log.text and "the cluster goes on with n2" in log.text
            assert "an admin lets this partition go on" in caplog.text
            await client.write("f", b"1")
            with pytest.raises(Conflict, match="nothing to adopt"):
                await adoption.waiting_for(context, NoParameters())

            async with store(1) as one:  # it was not lost: both end in one state
                await until(one, True, {1, 2})
                await until(two, True, {1, 2})
                await client.write("together", b"1")
                assert one.root == two.root
