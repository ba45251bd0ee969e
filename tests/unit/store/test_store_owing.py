"""Who is told of a sync: by a whisper, or aloud."""

from __future__ import annotations

from kvorum.store.protocol.aloud import ALOUD_MAX, ALOUD_PLACES, Aloud
from kvorum.store.protocol.owing import Owing, Telling


def begun(*reached: int) -> Owing:
    return Owing(Aloud(reached or (1, 2, 3)))


def idle() -> Owing:
    owing = begun()
    assert owing.synced(0) == Telling(all=True)
    return owing


def test_a_views_beginning_is_told_aloud() -> None:
    owing = begun()
    assert owing.synced(-1) == Telling()
    assert owing.synced(0) == Telling(all=True)
    assert owing.synced(0) == Telling(), "once"


def test_who_waits_is_whispered_to_once_the_place_is_on_disk() -> None:
    owing = idle()
    owing.waits(2, 3)
    assert owing.synced(2) == Telling()
    assert owing.synced(3) == Telling(alone=(2,))
    assert owing.synced(3) == Telling(), "once"


def test_two_who_wait_are_told_each_for_its_own_place() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.waits(3, 4)
    assert owing.synced(3) == Telling(alone=(2,))
    assert owing.synced(4) == Telling(alone=(3,))


def test_two_who_wait_for_what_one_sync_brought_share_a_whisper() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.waits(3, 4)
    assert owing.synced(4) == Telling(alone=(2, 3))


def test_who_can_not_be_reached_is_told_aloud() -> None:
    owing = begun(1, 2)
    owing.synced(0)
    owing.waits(3, 2)
    owing.waits(2, 2)
    assert owing.synced(2) == Telling(all=True), "the other hears it too"


def test_who_asked_is_told_aloud_for_a_while() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.synced(3)
    owing.asked(2, 3, on_disk=3)
    assert owing.synced(3) == Telling(all=True)
    owing.waits(2, 3 + ALOUD_PLACES)
    assert owing.synced(3 + ALOUD_PLACES) == Telling(all=True)
    owing.waits(2, 4 + ALOUD_PLACES)
    assert owing.synced(4 + ALOUD_PLACES) == Telling(alone=(2,))


def test_who_asks_while_the_disk_is_at_work_hears_a_whisper_as_others_do() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.asked(2, 3, on_disk=2)
    assert owing.synced(2) == Telling()
    assert owing.synced(3) == Telling(alone=(2,))


def test_who_lacks_a_whisper_again_and_again_is_told_aloud_for_longer_and_longer() -> None:
    aloud, place, spans = Aloud((2,)), 0, []
    for _ in range(12):
        aloud.lost(2, place)
        lost_at = place
        while not aloud.whispers(2, place + 1):
            place += 1
        spans.append(place - lost_at)
        place += 1
    assert spans == [8, 16, 32, 64, 128, 256, 512, *[ALOUD_MAX] * 5]
    place += 2 * ALOUD_MAX
    aloud.lost(2, place)
    assert aloud.whispers(2, place + ALOUD_PLACES + 1), "it was reached for long"
    assert not aloud.whispers(3, place), "never met"
