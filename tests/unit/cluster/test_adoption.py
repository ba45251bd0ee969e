"""``pvecm adopt`` on a store in memory."""

from __future__ import annotations

import asyncio

import pytest
from stand_ins import Everything, Lines

from kvorum.cluster.methods import adoption
from kvorum.cluster.methods.adoption import Adopt
from kvorum.core.errors import Conflict, DeadlineExceeded, ParameterError
from kvorum.interface import Context, Identity, NoParameters, RootOnly, Services, declared
from kvorum.store import Member, Membership
from kvorum.store.memory import MemoryStore

N1, N2 = Member("n1", 1, "10.0.0.1", online=False), Member("n2", 2, "10.0.0.2", online=True)
REASON = "waiting for n1, last seen together at 2026-11-28 05:00:00 UTC, who may know later changes"
WAITING = Membership("home", (N1, N2), False, 1, REASON, 1, adoptable=True)


def context(membership: Membership) -> Context:
    return Context(MemoryStore("n2", membership), Services(), Identity("root@pam"), Everything())


async def test_it_says_who_is_missing_and_goes_on_at_a_yes() -> None:
    ctx = context(WAITING)
    assert await adoption.waiting_for(ctx, NoParameters()) == REASON
    with pytest.raises(ParameterError, match=r"waiting for n1, last seen together .* repeat with --yes"):
        await adoption.adopt(ctx, Adopt())
    assert not ctx.store.membership.quorate
    work, log = await adoption.adopt(ctx, Adopt(yes=True)), Lines()
    assert (work.type, work.id) == ("clusteradopt", "")
    assert not ctx.store.membership.quorate, "not before the task runs"
    await asyncio.wait_for(work.run(log), 5)
    assert ctx.store.membership.quorate
    assert REASON in log.lines[0] and log.lines[1].startswith("root@pam says that they are lost for good")
    assert log.lines[2] == "the cluster goes on with n2; configuration may be changed again"


@pytest.mark.parametrize(
    ("membership", "sentence"),
    [
        (Membership("home", (N2,), True, 1), "nothing to adopt"),
        (
            Membership("home", (N1, N2), False, 1, "no quorum: 1 of 3 votes are here"),
            "does not help here: no quorum",
        ),
    ],
)
async def test_where_it_would_not_help_it_says_so(membership: Membership, sentence: str) -> None:
    with pytest.raises(Conflict, match=sentence):
        await adoption.waiting_for(context(membership), NoParameters())
    with pytest.raises(Conflict, match=sentence):
        await adoption.adopt(context(membership), Adopt(yes=True))


async def test_a_node_that_stays_read_only_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context(WAITING)
    monkeypatch.setattr(adoption, "_WAIT_S", 0.05)

    async def nothing() -> None: ...

    monkeypatch.setattr(ctx.store, "adopt", nothing)
    work = await adoption.adopt(ctx, Adopt(yes=True))
    with pytest.raises(DeadlineExceeded, match=r"still read-only after .*waiting for n1"):
        await asyncio.wait_for(work.run(Lines()), 5)


def test_only_root_in_person_may() -> None:
    methods = [m for m in declared() if m.path == "/kvorum/cluster/adopt"]
    assert len(methods) == 2 and all(isinstance(m.permission, RootOnly) for m in methods)
