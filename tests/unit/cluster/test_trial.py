"""A configuration is kept when the cluster is quorate with it, taken back when only the old votes had it."""

from __future__ import annotations

import pytest

from kvorum.cluster.trial import COME_BACK_S, SETTLE_S, Seen, Trial, Verdict, decide, taken_back
from kvorum.corosync import Configuration, ConfiguredNode, new_cluster


def cluster(*votes: int) -> Configuration:
    nodes = [ConfiguredNode(f"n{i}", i, v, {0: f"10.0.0.{i}"}) for i, v in enumerate(votes, 1)]
    made = new_cluster("home", nodes[0])
    for node in nodes[1:]:
        made = made.with_node(node)
    return made.with_version(5)


TRIAL = Trial(6, cluster(2, 1).text)
"""n1 had two votes of three; with version 6 both have one."""
ALONE, BOTH = frozenset({1}), frozenset({1, 2})


@pytest.mark.parametrize(
    ("seen", "waited_s", "verdict"),
    [
        (Seen(6, True, BOTH), SETTLE_S, Verdict.KEEP),
        (Seen(6, True, BOTH), SETTLE_S - 1, Verdict.WAIT),
        (Seen(6, False, ALONE), COME_BACK_S - 1, Verdict.WAIT),
        (Seen(6, False, ALONE), COME_BACK_S, Verdict.TAKE_BACK),
        (Seen(6, False, frozenset({2})), COME_BACK_S * 9, Verdict.WAIT),
        (Seen(5, True, BOTH), COME_BACK_S, Verdict.WAIT),
        (Seen(None), COME_BACK_S * 9, Verdict.WAIT),
        (Seen(7, False, ALONE), COME_BACK_S, Verdict.KEEP),
    ],
)
def test_what_becomes_of_the_version_on_trial(seen: Seen, waited_s: float, verdict: Verdict) -> None:
    assert decide(TRIAL, seen, waited_s) is verdict


def test_what_is_taken_back_is_newer_than_what_it_replaces() -> None:
    text, after = taken_back(TRIAL)
    now = Configuration.read(text)
    assert now.config_version == 7 and [node.votes for node in now.nodes] == [2, 1]
    assert after.taken_back and after.version == 7
    assert decide(after, Seen(7, False, ALONE), COME_BACK_S * 9) is Verdict.WAIT


def test_one_who_joins_gets_more_time() -> None:
    joining = Trial(6, cluster(1).text, patience_s=90)
    assert decide(joining, Seen(6, False, ALONE), COME_BACK_S) is Verdict.WAIT
    assert decide(joining, Seen(6, False, ALONE), 90) is Verdict.TAKE_BACK
