"""A link on which a node is silent is named before a join; a node that is off says nothing of links."""

import asyncio

import pytest

from kvorum.cluster.reach import reach_refusals, silent_links

OWN = {0: "10.0.0.3", 1: "10.1.0.3"}
NODES = {"n1": {0: "10.0.0.1", 1: "10.1.0.1"}, "n2": {0: "10.0.0.2", 1: "10.1.0.2"}}


@pytest.mark.parametrize(
    ("silent", "refused"),
    [
        ({}, []),
        ({"n1": [1]}, ["link 1: node 'n1' does not answer at 10.1.0.1 from 10.1.0.3"]),
        ({"n2": [0, 1]}, []),  # it is off
        (
            {"n1": [0, 1], "n2": [0, 1]},
            ["link 0: node 'n1'", "link 1: node 'n1'", "link 0: node 'n2'", "link"],
        ),
    ],
)
def test_what_is_refused(silent: dict[str, list[int]], refused: list[str]) -> None:
    said = reach_refusals(OWN, NODES, silent)
    assert len(said) == len(refused)
    assert all(is_.startswith(begins) for is_, begins in zip(said, refused, strict=True))


async def test_who_listens_or_refuses_is_there_and_who_is_silent_is_not() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        nodes = {"listens": {0: "127.0.0.1"}, "refuses": {0: "127.0.0.2"}, "no way": {0: "203.0.113.1"}}
        # a loopback address can't be the source of a way out, so the last one is never asked
        found = await silent_links({0: "127.0.0.1"}, nodes, port, probe_s=1.0)
    assert found == {"listens": [], "refuses": [], "no way": [0]}
