"""A link's change, as corosync can follow it."""

from __future__ import annotations

import pytest
from relink_world import NODES, configuration

from kvorum.cluster.relink.change import (
    Change,
    added,
    addresses_of,
    ending,
    moved,
    refusals,
    removed,
)
from kvorum.cluster.relink.under_way import UnderWay
from kvorum.corosync import Configuration

ONLINE = set(NODES)
NEW = {"n1": "10.2.0.1", "n2": "10.2.0.2", "n3": "10.2.0.3"}


def way(now: Configuration, change: Change) -> list[Configuration]:
    """All versions to the change's end."""
    versions = []
    while (new := change.next_version(now)) is not None:
        versions.append(new)
        now = new
        assert len(versions) < 4
    return versions


def test_an_address_moves_by_dropping_the_link_and_adding_it_anew() -> None:
    old = configuration()
    out, back = way(old, moved(old, 1, "n3", "10.1.0.33", None))
    assert out.links == (0,) and out.config_version == 6
    assert addresses_of(back, 1) == {"n1": "10.1.0.1", "n2": "10.1.0.2", "n3": "10.1.0.33"}
    assert back.config_version == 7 and back.link_options(1) == {"knet_link_priority": "20"}


def test_a_link_comes_with_its_priority_and_goes_without_a_trace() -> None:
    old = configuration()
    (more,) = way(old, added(old, 2, NEW, 7))
    assert more.links == (0, 1, 2) and more.link_options(2) == {"knet_link_priority": "7"}
    (less,) = way(more, removed(more, 2))
    assert less.text == old.with_version(7).text


def test_a_priority_alone_is_a_change_too() -> None:
    old = configuration()
    versions = way(old, moved(old, 1, "n3", "10.1.0.3", 9))
    assert versions[-1].link_options(1) == {"knet_link_priority": "9"}
    assert way(old, moved(old, 1, "n3", "10.1.0.3", 20)) == []


@pytest.mark.parametrize("link", [1, 2])
def test_from_any_version_in_between_a_change_goes_on_or_back(link: int) -> None:
    old = configuration(3)
    for change in (moved(old, link, "n2", "10.9.0.2", None), removed(old, link), added(old, 3, NEW, None)):
        versions = [old, *way(old, change)]
        for at in versions:
            to = ending(at, change)
            end = [at, *way(at, to)][-1]
            wanted = change.after if at is versions[-1] else change.before
            assert addresses_of(end, change.link) == dict(wanted)
            assert all(version.links for version in way(at, to))


def test_a_change_is_kept_as_text() -> None:
    old = configuration()
    under = UnderWay(moved(old, 1, "n3", "10.1.0.33", 4), "n1")
    assert UnderWay.read(under.text()) == under
    for text in ("", "{}", '{"link": "x"}'):
        with pytest.raises(ValueError, match=r"link-change\.json.*remove it"):
            UnderWay.read(text)


def test_a_node_that_was_removed_meanwhile_has_no_part_in_it() -> None:
    old = configuration()
    change = moved(old, 1, "n2", "10.1.0.22", None)
    now = old.without_link(1).without_node("n3").bumped()
    with pytest.raises(ValueError, match="link 1 can't be brought back"):
        change.back.next_version(now)
    assert addresses_of(way(now, change.without("n3").back)[-1], 1) == {"n1": "10.1.0.1", "n2": "10.1.0.2"}


OLD = configuration()
REFUSED = [
    (OLD, added(OLD, 1, NEW, None), "link 1 is there already"),
    (OLD, added(OLD, 8, NEW, None), "there is no link 8"),
    (OLD, added(OLD, 2, {"n1": "10.2.0.1"}, None), "n2, n3 has none"),
    (OLD, added(OLD, 2, NEW | {"n9": "10.2.0.9"}, None), "no node 'n9'"),
    (OLD, added(OLD, 2, NEW | {"n3": "10.2.0.1"}, None), "given for both 'n1' and 'n3'"),
    (OLD, added(OLD, 2, NEW | {"n3": "10.0.0.1"}, None), "already used by node 'n1' on link 0"),
    (OLD, moved(OLD, 3, "n3", "10.3.0.3", None), "each node needs an address on link 3"),
    (OLD, removed(OLD, 3), "the cluster has no link 3, only 0, 1"),
    (OLD, removed(OLD, 0), "link 0 can't be dropped while corosync runs"),
]


@pytest.mark.parametrize(("now", "change", "sentence"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_can_not_be_is_refused(now: Configuration, change: Change, sentence: str) -> None:
    assert sentence in "\n".join(refusals(now, change, ONLINE))


def test_a_node_that_is_off_is_asked_for_unless_forced() -> None:
    change = moved(OLD, 1, "n3", "10.1.0.33", None)
    assert refusals(OLD, change, ONLINE) == []
    assert "node n2 is off" in refusals(OLD, change, {"n1", "n3"})[0]
    assert refusals(OLD, change, {"n1", "n3"}, force=True) == []
