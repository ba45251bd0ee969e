"""Datagrams past Corosync: who is heard, and that nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from kvorum.store.corosync_group import CorosyncGroup
from kvorum.store.whispers import Reach, Whispers

LOOPBACK = "127.0.0.1"


class Ear:
    """A node's socket and what it heard."""

    def __init__(self, nodeid: int) -> None:
        self.heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.whispers = Whispers(nodeid, lambda *said: self.heard.put_nowait(said))
        self.whispers.open(LOOPBACK, 0)

    async def next(self) -> tuple[int, bytes]:
        return await asyncio.wait_for(self.heard.get(), 10)


@contextlib.asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[Ear, Ear]]:
    one, two = Ear(1), Ear(2)
    try:
        introduce(one, two)
        yield one, two
    finally:
        one.whispers.close()
        two.whispers.close()


def introduce(one: Ear, two: Ear) -> None:
    reach = {1: one.whispers.reach(), 2: two.whispers.reach()}
    one.whispers.meet(reach)
    two.whispers.meet(reach)


def to(whispers: Whispers) -> socket.socket:
    """A stranger's socket that sends to this node."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    reach = msgspec.msgpack.decode(whispers.reach(), type=Reach)
    stranger.connect((reach.address, reach.port))
    return stranger


def test_a_member_hears_what_is_said_and_by_whom() -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            one.whispers.say((2,), b"something")
            two.whispers.say((1,), b"an answer")
            assert await two.next() == (1, b"something")
            assert await one.next() == (2, b"an answer")

    asyncio.run(main())


def test_what_is_said_is_encrypted_once_and_heard_by_each() -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            three = Ear(3)
            try:
                reach = {1: one.whispers.reach(), 2: two.whispers.reach(), 3: three.whispers.reach()}
                for ear in (one, two, three):
                    ear.whispers.meet(reach)
                one.whispers.say((2, 3), b"a secret of priv" * 2000)
                assert await two.next() == await three.next() == (1, b"a secret of priv" * 2000)
            finally:
                three.whispers.close()

    asyncio.run(main())


@pytest.mark.parametrize("harm", [lambda said: said[:-1], lambda said: said[:-1] + bytes((said[-1] ^ 1,))])
def test_a_datagram_that_was_changed_on_its_way_is_dropped(harm: Callable[[bytes], bytes]) -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with listening, to(two.whispers) as stranger:
                listening.bind((LOOPBACK, 0))
                introduce(one, two)
                real = one.whispers._members[2]
                one.whispers._members[2] = listening.getsockname(), real[1]
                one.whispers.say((2,), b"said")
                said = listening.recv(65536)
                assert b"said" not in said
                stranger.send(harm(said))
                stranger.send(said)
            assert await two.next() == (1, b"said"), "only the second, which is as it was"
            assert two.heard.empty()

    asyncio.run(main())


def test_who_knows_an_earlier_rings_key_is_not_heard() -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            two.whispers.reach()  # a new ring, of which the first was told nothing
            one.whispers.say((2,), b"of before")
            introduce(one, two)
            one.whispers.say((2,), b"of now")
            assert await two.next() == (1, b"of now")

    asyncio.run(main())


@pytest.mark.parametrize("datagram", [b"", b"x", bytes(16), bytes(20), bytes(21), bytes(600)])
def test_what_no_member_encrypted_is_dropped(datagram: bytes) -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            with to(two.whispers) as stranger:
                stranger.send(datagram)
            introduce(one, two)
            one.whispers.say((2,), b"after it")
            assert await two.next() == (1, b"after it")

    asyncio.run(main())


@pytest.mark.parametrize(
    "told",
    [b"", b"garbage", msgspec.msgpack.encode(("example.org", 1, b"")), msgspec.msgpack.encode(("::1",))],
)
def test_a_member_that_tells_nonsense_is_not_whispered_to(
    told: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with two_nodes() as (one, two):
            reach = {1: one.whispers.reach(), 2: two.whispers.reach()}
            one.whispers.meet({**reach, 3: told})
            two.whispers.meet(reach)
            one.whispers.say((3,), b"nobody hears it")
            one.whispers.say((4,), b"nor this")
            one.whispers.say((2,), b"this is heard")
            assert await two.next() == (1, b"this is heard")

    asyncio.run(main())
    assert "node id 3 can't be whispered to" in caplog.text


def test_a_node_that_can_not_listen_tells_no_reach() -> None:
    async def main() -> None:
        whispers = Whispers(1, lambda *_: None)
        with pytest.raises(OSError):
            whispers.open("198.18.255.254", 0)  # not ours
        assert whispers.reach() == b""
        whispers.say((2,), b"nothing happens")
        whispers.close()

    asyncio.run(main())


def test_a_node_listens_at_another_address_and_tells_that_one() -> None:
    first, second = (f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.{n}" for n in (1, 2))

    async def main() -> None:
        group = CorosyncGroup(lambda _: None, nodeid=1, address=first, settle_seconds=lambda _: 1.0)
        group._listen()
        assert not group.listen_at(first) and not group.listen_at("")
        assert group.listen_at(second)
        reach = msgspec.msgpack.decode(group._whispers.reach(), type=Reach)
        assert reach.address == second
        assert group.listen_at("198.18.255.254"), "not ours: nobody can whisper to it, and all are told so"
        assert group._whispers.reach() == b""
        assert group.listen_at(first) and group._whispers.reach() != b""
        group._whispers.close()

    asyncio.run(main())
