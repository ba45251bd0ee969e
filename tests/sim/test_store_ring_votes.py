"""Two and four nodes with QNetd's ffsplit: its vote counts when Corosync says it for the ring of now."""

from __future__ import annotations

import os

import pytest
import store_ring_votes as votes
import store_world as world

SEEDS = 6000 if os.environ.get("KVORUM_SOAK") else 150


def walk(seed: int) -> None:
    try:
        world.walk(votes.RingVotes(seed, size=(2, 2, 2, 4)[seed % 4]), steps=world.STEPS)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("part", range(5))
def test_no_acknowledged_write_is_lost(part: int) -> None:
    for seed in range(part, SEEDS, 5):
        walk(seed)


def test_a_qnetd_that_gives_the_vote_away_before_the_others_know_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test of the test, and why lms has to wait for longer."""
    monkeypatch.setattr(votes.RingVotes, "nacks_first", False)
    with pytest.raises(AssertionError, match="was acknowledged and is lost"):
        for seed in range(400):
            walk(seed)
