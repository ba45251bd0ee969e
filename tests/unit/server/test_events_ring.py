import pytest

from kvorum.server.events.ring import Lagged, Right, Ring

ALL = Right("", "")


def everyone(right: Right) -> bool:
    return True


def test_a_listener_gets_what_came_after_its_place_in_order() -> None:
    ring = Ring("ab")
    for number in range(3):
        ring.add("store", b'{"n":%d}' % number, ALL)
    data, cursor = ring.take(1, "root@pam", everyone)
    assert data == b'id: ab-2\nevent: store\ndata: {"n":1}\n\nid: ab-3\nevent: store\ndata: {"n":2}\n\n'
    assert (cursor, ring.end) == (3, 3)
    assert ring.cursor("ab-2") == 2


def test_each_viewer_sees_what_it_may_and_goes_on_behind_the_rest() -> None:
    ring = Ring("ab")
    ring.add("store", b"1", Right("/vms/100", "VM.Audit"))
    ring.add("store", b"2", Right("/", "Sys.Audit"))
    data, cursor = ring.take(0, "joe@pve", lambda right: right.path == "/vms/100")
    assert (data.count(b"data:"), cursor) == (1, 2)
    data, cursor = ring.take(0, "root@pam", everyone)
    assert (data.count(b"data:"), cursor) == (2, 2)


def test_the_ring_is_bounded_and_who_was_overtaken_is_told() -> None:
    ring = Ring("ab", most_events=10, most_bytes=1 << 20)
    for _ in range(25):
        ring.add("store", b"{}", ALL)
    with pytest.raises(Lagged, match="too slow and is cut off"):
        ring.take(14, "root@pam", everyone)
    assert ring.take(15, "root@pam", everyone)[1] == 25
    narrow = Ring("ab", most_bytes=200)
    for _ in range(100):
        narrow.add("store", b"x" * 50, ALL)
    assert len(narrow.take(narrow.end - 2, "root@pam", everyone)[0]) <= 200


@pytest.mark.parametrize("last", ["cd-3", "ab-99", "ab-0", "ab-", "ab-x", "", "ab--1", "ab-" + "9" * 30])
def test_a_place_that_is_not_kept_is_refused(last: str) -> None:
    ring = Ring("ab", most_events=2)
    for _ in range(3):
        ring.add("store", b"{}", ALL)
    with pytest.raises(Lagged, match="ask for everything anew"):
        ring.cursor(last)
