"""A changed network is kept when all that answered before answers again, and taken back when it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.node.network_trial import CONFIRM_S, SETTLE_S, Sight, Trial, Verdict

ALONE = Sight()
AMONG = Sight(frozenset({"n2", "n3"}), quorate=True, gateway=True)


def test_other_nodes_must_answer_without_a_break_until_corosync_would_have_noticed() -> None:
    trial = Trial(AMONG, remote=False).look(AMONG, 1)
    assert trial.verdict is Verdict.WAIT
    trial = trial.look(Sight(frozenset({"n2"}), quorate=True, gateway=True), 3)
    assert (trial.verdict, trial.why) == (Verdict.WAIT, "no answer from n3")
    trial = trial.look(AMONG, 4).look(AMONG, 4 + SETTLE_S - 0.1)
    assert trial.verdict is Verdict.WAIT, "it counts from when all of them answered again"
    trial = trial.look(AMONG, 4 + SETTLE_S)
    assert trial.verdict is Verdict.KEEP
    assert trial.why == "the node is reachable: n2, n3 answer, the default gateway answers"


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (Sight(frozenset(), quorate=True, gateway=True), "no answer from n2, n3"),
        (Sight(AMONG.nodes, quorate=False, gateway=True), "no quorum"),
        (Sight(AMONG.nodes, quorate=True, gateway=False), "no answer from a default gateway"),
        (Sight(), "no answer from n2, n3, no quorum, no answer from a default gateway"),
    ],
)
def test_what_stays_silent_brings_the_old_configuration_back(now: Sight, sentence: str) -> None:
    trial = Trial(AMONG, remote=False).look(now, CONFIRM_S - 1)
    assert trial.verdict is Verdict.WAIT
    trial = trial.look(now, CONFIRM_S)
    assert trial.verdict is Verdict.BACK
    assert trial.why == f"within 60 s the node was not reachable again: {sentence}"


def test_who_asked_over_the_network_must_be_heard_from() -> None:
    trial = Trial(ALONE, remote=True).look(ALONE, 1)
    assert (trial.verdict, trial.why) == (Verdict.WAIT, "nothing heard from who asked for the change")
    assert trial.look(ALONE, CONFIRM_S).verdict is Verdict.BACK
    kept = trial.hear().look(ALONE, 2)
    assert (kept.verdict, kept.why) == (Verdict.KEEP, "the node is reachable: who asked was heard from")


def test_what_was_silent_before_is_not_asked_of_the_new_configuration() -> None:
    assert Trial(Sight(gateway=False), remote=False).look(ALONE, 0).verdict is Verdict.KEEP
    one_off = Sight(frozenset({"n2"}), quorate=False)
    trial = Trial(one_off, remote=False).look(one_off, 0).look(one_off, SETTLE_S)
    assert trial.verdict is Verdict.KEEP


def test_with_nobody_to_tell_it_is_kept_and_says_so() -> None:
    assert "no other node, gateway or client" in Trial(ALONE, remote=False).look(ALONE, 0).why


SIGHTS = st.builds(Sight, st.frozensets(st.sampled_from(["n2", "n3"])), st.booleans(), st.booleans())


@given(SIGHTS, st.booleans(), st.lists(st.tuples(SIGHTS, st.booleans(), st.floats(0.1, 9)), max_size=40))
def test_it_is_never_kept_while_something_that_answered_is_silent_and_always_decided(
    before: Sight, remote: bool, looks: list[tuple[Sight, bool, float]]
) -> None:
    trial, clock = Trial(before, remote), 0.0
    for now, heard, later in [*looks, (Sight(), False, CONFIRM_S)]:
        clock += later
        trial = (trial.hear() if heard else trial).look(now, clock)
        if trial.verdict is Verdict.KEEP:
            assert before.nodes <= now.nodes and before.quorate <= now.quorate
            assert before.gateway <= now.gateway and (trial.heard or not remote)
        if trial.verdict is not Verdict.WAIT:
            return
    raise AssertionError("it was never decided")
