"""A link's state, latency and loss, from what Corosync counts."""

import pytest

from kvorum.cluster.watch.links import (
    Counted,
    LinkState,
    Sample,
    Trouble,
    kept,
    measured,
    sentence,
    troubles,
)

DOWN, LOSS, SLOW = (Trouble(kind, 2, 0) for kind in ("down", "loss", "slow"))


def sample(at: float, pings: int, pongs: int, *, connected: bool = True, downs: int = 0) -> Sample:
    return Sample(at, {(2, 0): Counted(connected, 400, pings, pongs, downs)})


def state(loss: float | None = 0.0, latency_us: int = 400, *, connected: bool = True) -> LinkState:
    return LinkState(2, 0, connected, latency_us, loss, 0)


def test_loss_is_counted_over_the_last_minute_alone() -> None:
    samples: tuple[Sample, ...] = ()
    for at, pings, pongs in ((0, 0, 0), (10, 36, 0), (70, 250, 214), (80, 286, 250)):
        samples = kept(samples, sample(at, pings, pongs))
    assert measured(samples)[0].loss_percent == 0.0  # what was lost in the first ten seconds is of the past
    assert len(samples) <= 3
    samples = kept(samples, sample(90, 322, 268))
    assert measured(samples)[0].loss_percent == pytest.approx(100 * (286 - 1 - 268) / 286, abs=0.1)


def test_of_a_few_pings_nothing_is_told() -> None:
    assert measured((sample(0, 0, 0),))[0].loss_percent is None
    assert measured((sample(0, 0, 0), sample(10, 20, 0)))[0].loss_percent is None


def test_counters_that_began_anew_are_not_subtracted() -> None:
    """Corosync was restarted: a difference to what the former one counted says nothing."""
    samples = (sample(0, 5000, 5000), sample(10, 10, 10), sample(60, 110, 100))
    assert measured(samples)[0].loss_percent == pytest.approx(9.0, abs=0.1)
    assert measured((sample(0, 5000, 5000), sample(10, 40, 40)))[0].loss_percent is None


@pytest.mark.parametrize(
    ("now", "had", "found"),
    [
        (state(), (), set()),
        (state(5.0), (), {LOSS}),
        (state(4.9), (), set()),
        (state(4.9), (LOSS,), {LOSS}),
        (state(1.9), (LOSS,), set()),
        (state(latency_us=10_000), (), {SLOW}),
        (state(latency_us=7_000), (), set()),
        (state(latency_us=7_000), (SLOW,), {SLOW}),
        (state(None, connected=False), (LOSS,), {DOWN}),
    ],
)
def test_a_trouble_begins_at_one_limit_and_ends_at_another(
    now: LinkState, had: tuple[Trouble, ...], found: set[Trouble]
) -> None:
    assert troubles([now], {2}, had) == found


def test_of_a_node_that_is_away_quorum_speaks() -> None:
    assert troubles([state(None, connected=False)], set(), (DOWN,)) == frozenset()


def test_the_sentence_names_the_link_and_what_comes_of_it() -> None:
    assert sentence(DOWN, state(connected=False), ("n1", "n2"), 2).startswith(
        "Link 0 between n1 and n2 is down: Corosync goes on by the others"
    )
    assert "goes on" not in sentence(DOWN, state(connected=False), ("n1", "n2"), 1)
    assert "12.5 % of the last minute's pings" in sentence(LOSS, state(12.5), ("n1", "n2"), 1)
    assert "12.0 ms there and back" in sentence(SLOW, state(latency_us=12_000), ("n1", "n2"), 1)
