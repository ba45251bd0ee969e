"""A node comes in by a token, goes off by it again, and nobody else does either."""

from pathlib import Path

import pytest

from kvorum.access import Throttle
from kvorum.cluster.bring import Brought
from kvorum.cluster.join_token import FILE, Tokens, read_ticket
from kvorum.cluster.methods import tokens
from kvorum.cluster.methods.membership import add_node
from kvorum.cluster.methods.models import AddNode
from kvorum.cluster.methods.tokens import Admit, Make, Revoke, Secret, Withdraw
from kvorum.core.errors import AuthenticationError, Conflict
from kvorum.corosync import Configuration
from kvorum.interface import Context, Identity, NoParameters
from kvorum.store import Delete


def configuration(ctx: Context) -> Configuration:
    file = ctx.store.read("corosync.conf")
    assert file is not None
    return Configuration.read(file.text)


@pytest.fixture
def stranger(ctx: Context) -> Context:
    """As the daemon sees who comes without a login."""
    ctx.services.add(Throttle, Throttle(first_delay_s=0.001))
    return Context(ctx.store, ctx.services, Identity("nobody@none", address="10.0.0.2"), ctx.authority)


async def secret_of(ctx: Context) -> str:
    made = await tokens.make(ctx, Make())
    ticket = read_ticket(made["token"])
    assert ticket.address == made["hostname"] == "10.0.0.1" and ticket.links == {0: "10.0.0.1"}
    return ticket.secret


def request(secret: str, node: str = "n2", address: str = "10.0.0.2") -> Admit:
    return Admit(secret=secret, node=node, new_node_ip=address, apiversion=1)


async def test_a_token_lets_one_node_in_and_off_again(ctx: Context, stranger: Context) -> None:
    secret = await secret_of(ctx)
    told = await tokens.join_information(stranger, Secret(secret=secret))
    assert told["apiversion"] == 1 and told["nodelist"][0]["name"] == "n1"
    answer = await tokens.admit_by_token(stranger, request(secret))
    assert answer["withdrawal"] == secret and configuration(ctx).node("n2") is not None
    (row,) = await tokens.listing(ctx, NoParameters())
    assert row["state"] == "used by n2" and secret not in str(row)
    with pytest.raises(AuthenticationError, match="was used by node 'n2'"):
        await tokens.admit_by_token(stranger, request(secret, "n3", "10.0.0.3"))
    with pytest.raises(AuthenticationError, match="node 'n1' did not come with this join token"):
        await tokens.withdraw_by_token(stranger, Withdraw(node="n1", secret=secret))
    await tokens.withdraw_by_token(stranger, Withdraw(node="n2", secret=secret))
    assert [node.name for node in configuration(ctx).nodes] == ["n1"]
    assert "n2" not in ctx.store.names("nodes")


async def test_a_node_that_came_by_password_goes_off_by_the_secret_it_made(
    ctx: Context, stranger: Context
) -> None:
    first, second = "01" * 16, "02" * 16
    for made in (first, second):  # the second try; what the first may still say is worth nothing then
        asked = AddNode(node="n2", new_node_ip="10.0.0.2", apiversion=1, withdrawal=made)
        assert (await add_node(ctx, asked))["withdrawal"] == made
    with pytest.raises(AuthenticationError, match="did not come with this join token"):
        await tokens.withdraw_by_token(stranger, Withdraw(node="n2", secret=first))
    await tokens.withdraw_by_token(stranger, Withdraw(node="n2", secret=second))
    assert configuration(ctx).node("n2") is None


async def test_a_join_that_broke_off_is_repeated_with_the_same_token(
    ctx: Context,
    stranger: Context,
) -> None:
    secret = await secret_of(ctx)
    await tokens.admit_by_token(stranger, request(secret))
    first = configuration(ctx).config_version
    await tokens.admit_by_token(stranger, request(secret))
    assert configuration(ctx).config_version == first + 2, "taken off and taken in"
    assert [node.name for node in configuration(ctx).nodes] == ["n1", "n2"]


async def test_a_revoked_token_is_worth_nothing(ctx: Context, stranger: Context) -> None:
    secret = await secret_of(ctx)
    (row,) = await tokens.listing(ctx, NoParameters())
    await tokens.revoke(ctx, Revoke(id=row["id"]))
    with pytest.raises(AuthenticationError, match="not one of this cluster"):
        await tokens.admit_by_token(stranger, request(secret))
    assert configuration(ctx).node("n2") is None


async def test_guessing_is_slowed_down(ctx: Context, stranger: Context, tmp_path: Path) -> None:
    throttle = ctx.services.get(Throttle)
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            await tokens.join_information(stranger, Secret(secret="00" * 16))
    assert throttle._entry("10.0.0.2", "join token").failures == 3


async def test_only_the_hash_is_in_the_store(ctx: Context) -> None:
    secret = await secret_of(ctx)
    file = ctx.store.read(FILE)
    assert file is not None and secret not in file.text and len(Tokens.read(file.text).rows) == 1


async def test_guests_and_storages_come_with_the_node_or_not_at_all(ctx: Context, stranger: Context) -> None:
    secret = await secret_of(ctx)
    storages = "dir: fast\n\tpath /mnt/fast\n"
    brought = Brought({"100": "scsi0: fast:100/a.raw\n"}, storages)
    await ctx.store.write("nodes/n1/qemu-server/100.conf", "memory: 64\n")
    asked = request(secret).model_copy(update={"brought": brought.text()})
    with pytest.raises(Conflict, match=r"VM 100 \(node n1 has one\)"):
        await tokens.admit_by_token(stranger, asked)
    assert configuration(ctx).node("n2") is None

    await ctx.store.transact([Delete("nodes/n1/qemu-server/100.conf")])
    await tokens.admit_by_token(stranger, asked)
    file, known = ctx.store.read("nodes/n2/qemu-server/100.conf"), ctx.store.read("storage.cfg")
    assert file is not None and file.text == "scsi0: fast:100/a.raw\n"
    assert known is not None and "dir: fast\n\tpath /mnt/fast\n\tnodes n2\n" in known.text

    await tokens.withdraw_by_token(stranger, Withdraw(node="n2", secret=secret))
    known = ctx.store.read("storage.cfg")
    assert ctx.store.read("nodes/n2/qemu-server/100.conf") is None
    assert known is not None and "fast" not in known.text
