"""Who is told of a sync: by a whisper, or aloud."""

from __future__ import annotations

from kvorum.store.protocol.owing import ALOUD_MAX, ALOUD_VERSIONS, Owing, Telling

REACH = {1: b"1", 2: b"2", 3: b"3"}


def begun(version: int = 1, reach: dict[int, bytes] | None = None) -> Owing:
    owing = Owing()
    owing.begin(version, REACH if reach is None else reach)
    return owing


def idle() -> Owing:
    owing = begun()
    assert owing.synced(1) == Telling(all=True)
    return owing


def test_a_views_beginning_is_told_aloud() -> None:
    assert begun(5).synced(4) == Telling()
    assert begun(5).synced(5) == Telling(all=True)


def test_who_waits_is_whispered_to_once_the_version_is_on_disk() -> None:
    owing = idle()
    owing.waits(2, 3)
    assert owing.synced(2) == Telling()
    assert owing.synced(3) == Telling(alone=(2,))
    assert owing.synced(3) == Telling(), "once"


def test_two_who_wait_are_told_each_for_its_own_version() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.waits(3, 4)
    assert owing.synced(3) == Telling(alone=(2,))
    assert owing.synced(4) == Telling(alone=(3,))


def test_who_can_not_be_reached_is_told_aloud() -> None:
    owing = begun(1, {1: b"1", 2: b"2"})
    owing.synced(1)
    owing.waits(3, 2)
    owing.waits(2, 2)
    assert owing.synced(2) == Telling(all=True), "the other hears it too"


def test_who_asked_is_told_aloud_for_a_while() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.synced(3)
    owing.asked(2, 3, on_disk=3)
    assert owing.synced(3) == Telling(all=True)
    owing.waits(2, 3 + ALOUD_VERSIONS)
    assert owing.synced(3 + ALOUD_VERSIONS) == Telling(all=True)
    owing.waits(2, 4 + ALOUD_VERSIONS)
    assert owing.synced(4 + ALOUD_VERSIONS) == Telling(alone=(2,))


def test_who_asks_while_the_disk_is_at_work_hears_a_whisper_as_others_do() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.asked(2, 3, on_disk=2)
    assert owing.synced(2) == Telling()
    assert owing.synced(3) == Telling(alone=(2,))


def test_who_has_to_ask_again_and_again_is_told_aloud_for_longer_and_longer() -> None:
    owing, version, spans = idle(), 3, []
    for _ in range(12):
        owing.asked(2, version, on_disk=version)
        owing.synced(version)
        asked_at = version
        while True:
            version += 1
            owing.waits(2, version)
            if not owing.synced(version).all:
                break
        spans.append(version - asked_at - 1)
    assert spans == [8, 16, 32, 64, 128, 256, 512, *[ALOUD_MAX] * 5]
    owing.asked(2, version + 2 * ALOUD_MAX, on_disk=version + 2 * ALOUD_MAX)
    owing.synced(version + 2 * ALOUD_MAX)
    owing.waits(2, version + 2 * ALOUD_MAX + ALOUD_VERSIONS + 1)
    assert not owing.synced(version + 2 * ALOUD_MAX + ALOUD_VERSIONS + 1).all, "it was reached for long"


def test_a_new_view_owes_nothing_of_the_old_one() -> None:
    owing = idle()
    owing.waits(2, 3)
    owing.asked(3, 3, on_disk=3)
    owing.begin(7, REACH)
    assert owing.synced(7) == Telling(all=True)
    owing.waits(3, 8)
    assert owing.synced(8) == Telling(alone=(3,))
