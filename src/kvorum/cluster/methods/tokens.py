"""Join tokens: made and revoked by root, and the three calls that a node makes with one.

Those three ask for no login: the token is what lets in, for these calls alone. Guessing is slowed down as at
the login.
"""

from __future__ import annotations

import time
from typing import TypedDict

from pydantic import Field

from kvorum.access import Throttle
from kvorum.cluster.join_token import FILE, SECRET_BYTES, Kept, Ticket, Tokens, states
from kvorum.cluster.methods.admitting import guest_paths, request_of, take_in
from kvorum.cluster.methods.information import join_rows
from kvorum.cluster.methods.models import Added, AddNode, configured
from kvorum.cluster.methods.withdrawing import take_off
from kvorum.core.errors import AuthenticationError, Conflict
from kvorum.interface import Anyone, Command, Context, NodeName, NoParameters, Parameters, RootOnly, method
from kvorum.store import Expect, File, Store, Write

_SECRET = Field(pattern=f"^[0-9a-f]{{{2 * SECRET_BYTES}}}$", description="The join token's secret.")
_THROTTLED = "join token"
_WITHDRAWN = "withdrawal"
"""Throttled apart: a node that says it again and again, to a peer that never listed it, may still join."""
_ATTEMPTS = 5


class Make(Parameters):
    minutes: int = Field(10, ge=1, le=1440, description="How long the token is good for.")


class Revoke(Parameters):
    id: str = Field(pattern="^[0-9a-f]{6}$", description="The token's id.")


class Secret(Parameters):
    secret: str = _SECRET


class Admit(AddNode):
    secret: str = _SECRET


class Withdraw(Parameters):
    node: NodeName
    secret: str = _SECRET


class Made(TypedDict):
    """A new token; its text is shown this once."""

    id: str
    token: str
    expires: int
    hostname: str


class TokenRow(TypedDict):
    """A token as it is listed."""

    id: str
    by: str
    expires: int
    state: str


class JoinRows(TypedDict):
    """What a node checks before it asks to be taken in."""

    apiversion: int
    nodelist: list[dict[str, object]]
    guests: dict[str, str]
    """Every vmid of the cluster, and its node."""


@method(
    "POST",
    "/kvorum/cluster/tokens",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm token", output="join token"),),
)
async def make(ctx: Context, p: Make) -> Made:
    """Make a token with which one node can join this cluster without root's password.

    On the other node: pvecm add ADDRESS --token TOKEN
    """
    store = ctx.store
    _, configuration = configured(store)
    here = configuration.node(store.node)
    if here is None:
        raise Conflict(f"the cluster's configuration does not have this node '{store.node}'")
    (row,) = (row for row in join_rows(store, configuration) if row["name"] == store.node)
    kept, secret = Kept("", "", 0, ""), ""
    for attempt in range(_ATTEMPTS):
        file, tokens = _tokens(store)
        tokens, kept, secret = tokens.made(ctx.identity.name, p.minutes, time.time())
        if await _replaced(store, file, tokens, ctx.identity.name, last=attempt == _ATTEMPTS - 1):
            break
    address = here.addresses[min(here.addresses)]
    ticket = Ticket(address, str(row["pve_fp"]), here.addresses, secret)
    return Made(id=kept.id, token=ticket.text(), expires=kept.expires, hostname=address)


@method(
    "GET",
    "/kvorum/cluster/tokens",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm tokens"),),
)
async def listing(ctx: Context, p: NoParameters) -> list[TokenRow]:
    """The join tokens of the last day: open, used or expired. Their secrets are nowhere."""
    return [TokenRow(**row) for row in states(_tokens(ctx.store)[1].rows, time.time())]  # type: ignore[typeddict-item]  # states says so


@method(
    "DELETE",
    "/kvorum/cluster/tokens/{id}",
    permission=RootOnly(),
    protected=True,
    commands=(Command("pvecm revoke", "id"),),
)
async def revoke(ctx: Context, p: Revoke) -> None:
    """Make a join token worthless."""
    for attempt in range(_ATTEMPTS):
        file, tokens = _tokens(ctx.store)
        new = tokens.revoked(p.id)
        if await _replaced(ctx.store, file, new, ctx.identity.name, last=attempt == _ATTEMPTS - 1):
            return


@method("POST", "/kvorum/cluster/join/information", permission=Anyone(), protected=True)
async def join_information(ctx: Context, p: Secret) -> JoinRows:
    """What a node that has a join token checks before it joins."""
    from kvorum.cluster.admission import JOIN_API_VERSION

    async with ctx.service(Throttle).attempt(ctx.identity.address, _THROTTLED):
        _tokens(ctx.store)[1].check_open(p.secret, time.time())
    _, configuration = configured(ctx.store)
    guests = {vmid: path.split("/")[1] for vmid, path in guest_paths(ctx.store).items()}
    return JoinRows(apiversion=JOIN_API_VERSION, nodelist=join_rows(ctx.store, configuration), guests=guests)


@method("POST", "/kvorum/cluster/join/admit", permission=Anyone(), protected=True)
async def admit_by_token(ctx: Context, p: Admit) -> Added:
    """Take in a node that has a join token."""
    async with ctx.service(Throttle).attempt(ctx.identity.address, _THROTTLED):
        kept = _tokens(ctx.store)[1].check(p.secret, time.time(), p.node)
    return await take_in(ctx, request_of(p, ctx.identity.address), f"join token {kept.id}", p.secret)


@method("POST", "/kvorum/cluster/join/withdraw", permission=Anyone(), protected=True)
async def withdraw_by_token(ctx: Context, p: Withdraw) -> None:
    """Take a node off the list whose own join failed, by the token that it came with."""
    async with ctx.service(Throttle).attempt(ctx.identity.address, _WITHDRAWN):
        if not _tokens(ctx.store)[1].brought(p.secret, p.node):
            raise AuthenticationError(f"node '{p.node}' did not come with this join token")
    await take_off(ctx.store, p.node, f"node {p.node}")


def _tokens(store: Store) -> tuple[File | None, Tokens]:
    file = store.read(FILE)
    return file, Tokens.read(file.text if file is not None else "[]")


async def _replaced(store: Store, file: File | None, tokens: Tokens, who: str, *, last: bool) -> bool:
    """Write the file; false when it changed meanwhile."""
    try:
        expect = Expect.of(file) if file is not None else Expect(FILE, None)
        await store.transact([Write(FILE, tokens.text().encode())], [expect], who=who)
    except Conflict:
        if last:
            raise
        return False
    return True
