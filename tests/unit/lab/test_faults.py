import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.lab import faults
from kvorum.lab.plan import Plan

MACHINES = Plan(3, 1).machines
NAMES = [m.name for m in MACHINES]


def test_a_partition_cuts_both_ways_on_all_networks():
    cut = faults.parse_partition("n1,n2|n3", NAMES)
    assert {(tuple(sorted(p.sources)), tuple(sorted(p.targets))) for p in cut} == {
        (("n1", "n2"), ("n3",)),
        (("n3",), ("n1", "n2")),
    }
    assert all(p.networks == (0, 1, 2) for p in cut)


def test_three_sides_are_cut_from_each_other():
    assert len(faults.parse_partition("n1|n2|n3", NAMES)) == 6


def test_one_way_cuts_one_way():
    (cut,) = faults.parse_partition("n1>n2", NAMES, link=1)
    assert (cut.sources, cut.targets, cut.networks) == (frozenset({"n1"}), frozenset({"n2"}), (1,))


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("n1", None),
        ("n1|n4", None),
        ("n1|n1", None),
        ("n1>n2>n3", None),
        ("n1>n2|n3", None),
        ("|", None),
        ("n1|n2", 2),
    ],
)
def test_what_is_no_partition_is_refused_with_a_sentence(text, link):
    with pytest.raises(ValueError, match=r"is not a partition|no link"):
        faults.parse_partition(text, NAMES, link)


@given(st.text(alphabet="n123|>, p", max_size=20))
def test_any_text_is_a_partition_or_a_sentence(text):
    try:
        cut = faults.parse_partition(text, NAMES)
    except ValueError as error:
        assert "'" in str(error)
    else:
        assert cut
        assert all(not p.sources & p.targets for p in cut)


def test_the_rules_drop_frames_between_the_sides_ports_only():
    cut = faults.Faults().and_partitions(faults.parse_partition("n1>n2", NAMES, link=0))
    rules = [line.strip() for line in faults.ruleset(cut, MACHINES).splitlines() if line.endswith("drop")]
    assert rules == ['iifname { "n1-0" } oifname { "n2-0" } drop']


def test_a_plain_machine_has_no_port_in_the_guests_network():
    cut = faults.Faults().and_partitions(faults.parse_partition("n1|p1", NAMES))
    assert '"p1-2"' not in faults.ruleset(cut, MACHINES)
    assert '"p1-1"' in faults.ruleset(cut, MACHINES)


def test_loss_is_exact_to_a_hundredth_of_a_percent():
    text = faults.ruleset(faults.Faults().with_loss(faults.parse_loss(12.34)), MACHINES)
    assert "numgen random mod 10000 < 1234 drop" in text


def test_a_loss_of_zero_ends_the_loss_and_keeps_partitions():
    both = (
        faults.Faults().and_partitions(faults.parse_partition("n1|n2", NAMES)).with_loss(faults.parse_loss(5))
    )
    ended = both.with_loss(faults.parse_loss(0))
    assert ended.loss is None
    assert ended.partitions == both.partitions


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan")])
def test_an_impossible_loss_is_refused(percent):
    with pytest.raises(ValueError, match="0 to 100"):
        faults.parse_loss(percent)


def test_no_faults_make_no_rule():
    assert "drop" not in faults.ruleset(faults.Faults(), MACHINES)


def test_faults_are_told_as_sentences():
    both = (
        faults.Faults()
        .and_partitions(faults.parse_partition("n1>n2", NAMES, 1))
        .with_loss(faults.parse_loss(5))
    )
    assert both.sentences() == ["nothing passes from n1 to n2 on link 1", "5 % of all frames are lost"]


def test_a_loss_of_all_needs_no_dice_which_nft_would_refuse():
    text = faults.ruleset(faults.Faults().with_loss(faults.parse_loss(100)), MACHINES)
    assert "numgen" not in text
    assert '"n3-2" } drop' in text or '"p1-1" } drop' in text
