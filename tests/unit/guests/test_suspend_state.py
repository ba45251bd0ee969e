"""What is left to do with a guest that was being suspended to disk, or woken, when somebody died."""

from __future__ import annotations

import pytest

from kvorum.guests.config import GuestConfig
from kvorum.guests.errors import GuestError
from kvorum.guests.suspend import state
from kvorum.guests.suspend.state import SUSPENDED, SUSPENDING, Left

KEPT = {"vmstate": "local:100/vm-100-state-suspend-2026-11-28.raw", "runningmachine": "pc-i440fx-10.0",
        "runningcpu": "qemu64"}  # fmt: skip


@pytest.mark.parametrize(
    ("lock", "status", "standing", "wanted"),
    [
        (SUSPENDED, None, False, Left.NOTHING),
        (SUSPENDED, "postmigrate", True, Left.END),
        (SUSPENDED, "paused", True, Left.END),
        (SUSPENDED, "inmigrate", True, Left.END),
        (SUSPENDED, "running", False, Left.FORGET),
        (SUSPENDING, None, False, Left.GIVE_UP),
        (SUSPENDING, "running", True, Left.GIVE_UP),
        (SUSPENDING, "postmigrate", True, Left.GIVE_UP),
        (None, "paused", True, Left.GO_ON),
        (None, "paused", False, Left.NOTHING),
        (None, "running", False, Left.NOTHING),
        ("backup", None, False, Left.NOTHING),
    ],
)
def test_what_is_left_follows_from_the_lock_and_qemu(
    lock: str | None, status: str | None, standing: bool, wanted: Left
) -> None:
    assert state.left(lock, status, standing) is wanted


def test_a_guest_whose_memory_is_whole_waits_for_the_store() -> None:
    assert state.undecided(SUSPENDING, "postmigrate") and state.undecided(SUSPENDED, "paused")
    assert not state.undecided(SUSPENDING, "finish-migrate"), "nobody can have decided yet"
    assert not state.undecided(None, "paused") and not state.undecided("snapshot", "paused")


def test_a_guest_that_was_suspended_and_woken_has_the_configuration_it_had() -> None:
    before = GuestConfig.parse(100, "memory: 64\nname: a\n[one]\nmemory: 64\nvmstate: local:100/x.raw\n")
    asleep = state.suspended(state.begun(before), KEPT)
    assert asleep.lock == "suspended" and str(state.need_memory(asleep)) == KEPT["vmstate"]
    assert state.awake(asleep).document.render() == before.document.render()
    assert state.unlocked(state.begun(before)).document.render() == before.document.render()


def test_a_lock_without_memory_is_told_with_the_way_out() -> None:
    config = GuestConfig.parse(100, "lock: suspended\n")
    with pytest.raises(GuestError, match=r"names no 'vmstate'.*qm unlock 100"):
        state.need_memory(config)
    assert state.awake(config).lock is None
