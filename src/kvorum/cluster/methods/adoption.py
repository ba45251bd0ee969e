"""``pvecm adopt``: an admin's word that members who may know later changes are lost for good."""

from __future__ import annotations

import asyncio
import logging

from pydantic import Field

from kvorum.core.errors import Conflict, DeadlineExceeded, ParameterError
from kvorum.interface import (
    Boolean,
    Command,
    Context,
    NoParameters,
    Parameters,
    RootOnly,
    TaskLog,
    Work,
    method,
)
from kvorum.store import Membership

_WAIT_S = 30.0
_log = logging.getLogger(__name__)


class Adopt(Parameters):
    yes: Boolean = Field(
        False,
        description="The missing nodes are lost for good, and with them what only they know.",
        json_schema_extra={
            "confirm": {
                "method": "GET /kvorum/cluster/adopt",
                "given": [],
                "show": "This node is {value}\n"
                "What only they know is lost when this node goes on without them. If one of them comes back, "
                "what it alone has is dropped.",
                "ask": "Go on without them (yes/no)? ",
                "accepted": "1",
            }
        },
    )


@method("GET", "/kvorum/cluster/adopt", permission=RootOnly(), protected=True)
async def waiting_for(ctx: Context, p: NoParameters) -> str:
    """Whom this node waits for though a majority is here, and since when; an error if for nobody."""
    return _waiting(ctx.store.membership)


@method("POST", "/kvorum/cluster/adopt", permission=RootOnly(), protected=True, task=True,
        commands=(Command("pvecm adopt"),))  # fmt: skip
async def adopt(ctx: Context, p: Adopt) -> Work:
    """Let this node and those it sees go on without the nodes that may know later changes, which are lost."""
    waiting, who, store = _waiting(ctx.store.membership), ctx.identity.name, ctx.store
    if not p.yes:
        raise ParameterError(
            {"yes": f"this node is {waiting}; repeat with --yes if what only they know may be lost"}
        )

    async def run(log: TaskLog) -> None:
        log.line(f"this node is {waiting}")
        log.line(
            f"{who} says that they are lost for good: this node's configuration is the one to go on with"
        )
        _log.warning("%s adopts this node's configuration (pvecm adopt); the node was %s", who, waiting)
        await store.adopt()
        try:
            async with asyncio.timeout(_WAIT_S):
                async for membership in store.watch_membership():
                    if membership.quorate:
                        break
        except TimeoutError:
            raise DeadlineExceeded(
                f"the node is still read-only after {_WAIT_S:g} s: {store.membership.reason}"
            ) from None
        here = ", ".join(member.name for member in store.membership.members if member.online)
        log.line(f"the cluster goes on with {here or store.node}; configuration may be changed again")

    return Work("clusteradopt", "", run)


def _waiting(membership: Membership) -> str:
    """Why the node is read-only; raises ``Conflict`` when adopting is not what would help."""
    if membership.quorate:
        raise Conflict("nothing to adopt: this node waits for nobody, its configuration may be changed")
    if not membership.adoptable:
        raise Conflict(f"adopting does not help here: {membership.reason}")
    return membership.reason
