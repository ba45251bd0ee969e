"""The beginning of RFB with clients of every version, and with a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kvorum.core.errors import KvorumError
from kvorum.guests.console import rfb
from kvorum.guests.console.rfb import BadClient, ByteStream


class Talker:
    """The other side: says its words one message after the other, remembers what it was told."""

    def __init__(self, *words: bytes, password: str = "") -> None:
        self.words = list(words)
        self.heard = b""
        self._password = password

    @property
    def stream(self) -> ByteStream:
        return ByteStream(self._say)

    async def _say(self) -> bytes | None:
        if not self.words:
            return None
        word = self.words.pop(0)
        if word == b"RESPONSE":
            return rfb.response(self.heard[-16:], self._password)
        return word

    async def hear(self, data: bytes) -> None:
        self.heard += data


async def admitted(talker: Talker, password: str = "secret12", demanded: bool = True) -> None:
    await rfb.admit(talker.stream, talker.hear, password, demanded=demanded)


def test_the_response_is_des_with_mirrored_bits() -> None:
    """The vector was made by another implementation: OpenSSL's ``enc -des-ecb`` with the mirrored key."""
    assert rfb.response(bytes(range(16)), "password").hex() == VECTOR


VECTOR = "b866924125c8eebb9debc1db61c538e2"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((b"RFB 003.008\n", b"\2", b"RESPONSE", b"\1"), b"\1\2"),
        ((b"RFB 003.007\n", b"\2", b"RESPONSE", b"\0"), b"\1\2"),
        ((b"RFB 003.003\n", b"RESPONSE", b"\1"), b"\0\0\0\2"),
        ((b"RFB 003.889\n", b"\2", b"RESPONSE", b"\1"), b"\1\2"),
        ((b"RFB 003.", b"008\n\2", b"RESPONSE", b"\1"), b"\1\2"),
    ],
    ids=["3.8", "3.7", "3.3", "apple's", "in-pieces"],
)
async def test_who_knows_the_password_comes_in(words: Sequence[bytes], expected: bytes) -> None:
    talker = Talker(*words, password="secret12")
    await admitted(talker)
    assert talker.heard.startswith(b"RFB 003.008\n" + expected)
    assert len(talker.heard) == 12 + len(expected) + 16 + 4 and talker.heard.endswith(bytes(4))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((b"RFB 003.008\n", b"\2", b"RESPONSE"), b"\0\0\0\1\0\0\0\x16authentication failure"),
        ((b"RFB 003.007\n", b"\2", b"RESPONSE"), b"\0\0\0\1"),
        ((b"RFB 003.003\n", b"RESPONSE"), b"\0\0\0\1"),
    ],
)
async def test_a_wrong_password_is_refused(words: Sequence[bytes], told: bytes) -> None:
    talker = Talker(*words, password="another1")
    with pytest.raises(BadClient, match="password is wrong"):
        await admitted(talker)
    assert talker.heard.endswith(told)


@pytest.mark.parametrize(("version", "told"), [(b"RFB 003.008\n", bytes(4)), (b"RFB 003.007\n", b"")])
async def test_where_the_websocket_has_checked_the_ticket_none_is_enough(version: bytes, told: bytes) -> None:
    talker = Talker(version, b"\1", b"\1")
    await admitted(talker, "PVEVNC:1", demanded=False)
    assert talker.heard == b"RFB 003.008\n" + b"\2\2\1" + told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((b"GET / HTTP/1",), "does not speak RFB"),
        ((b"RFB 003.xyz\n",), "does not speak RFB"),
        ((b"RFB 003.008\n", b"\1"), "security type 1"),
    ],
)
async def test_who_speaks_otherwise_is_told(words: Sequence[bytes], said: str) -> None:
    with pytest.raises(BadClient, match=said):
        await admitted(Talker(*words))


async def test_who_goes_in_the_middle_is_gone() -> None:
    with pytest.raises(ConnectionError):
        await admitted(Talker(b"RFB 003.008\n", b"", b"\2", b"123"))


async def test_a_server_without_password_is_entered_to_share() -> None:
    server = Talker(b"RFB 003.008\n", b"\2\2\1", b"\0\0", b"\0\0and more")
    stream = server.stream
    await rfb.enter(stream, server.hear)
    assert server.heard == b"RFB 003.008\n\1\1"
    assert stream.rest() == b"and more" and stream.rest() == b""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((b"RFB 003.008\n", b"\1\2"), "password"),
        ((b"RFB 003.008\n", b"\0"), "password"),
        ((b"SSH-2.0-open", b""), "another protocol"),
        ((b"RFB 003.008\n", b"\1\1", b"\0\0\0\1"), "refused"),
    ],
)
async def test_a_server_that_is_otherwise_is_named(words: Sequence[bytes], said: str) -> None:
    server = Talker(*words)
    with pytest.raises(KvorumError, match=said):
        await rfb.enter(server.stream, server.hear)


def test_passwords_are_as_long_as_they_count() -> None:
    made = {rfb.new_password() for _ in range(50)}
    assert len(made) == 50 and {len(password) for password in made} == {rfb.PASSWORD_LENGTH}


def test_no_loop_is_needed_to_make_a_stream() -> None:
    assert asyncio.run(Talker(b"ab", b"c").stream.exactly(3)) == b"abc"
