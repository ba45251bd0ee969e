"""Whatever fails, wherever: the guest never runs twice, never gets lost, and nothing stays behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvorum.guests.migration.request import DiskRequest, Request, TargetFacts, problems
from kvorum.guests.migration.sequence import Do, Outcome, State, begin, step

outcomes = st.lists(st.sampled_from(list(Outcome)), min_size=40, max_size=40)


def walk(state: State, results: list[Outcome]) -> tuple[State, list[tuple[Do, Outcome]], bool]:
    """Run a migration in which steps end as told; whether the store really moved the configuration."""
    trace: list[tuple[Do, Outcome]] = []
    moved = False
    for result in [*results, *[Outcome.DONE] * 20]:
        if (current := state.current) is None:
            return state, trace, moved
        outcome = result
        if current is Do.COMMIT:
            moved = outcome is Outcome.DONE or (outcome is Outcome.UNKNOWN and len(trace) % 2 == 0)
        elif current is Do.SETTLE and outcome is not Outcome.UNKNOWN:
            outcome = Outcome.DONE if moved else Outcome.FAILED
        elif outcome is Outcome.UNKNOWN and current is not Do.SETTLE:
            outcome = Outcome.FAILED
        trace.append((current, outcome))
        state = step(state, outcome)
    raise AssertionError(f"no end: {trace}")


@given(st.booleans(), st.booleans(), outcomes)
def test_never_twice_and_never_lost(online: bool, local: bool, results: list[Outcome]) -> None:
    state, trace, moved = walk(begin(online=online, local_disks=local), results)
    done = [do for do, _ in trace]
    assert state.committed is moved
    if moved:
        assert not {Do.RESUME_SOURCE, Do.ABORT_TARGET, Do.UNLOCK, Do.CANCEL_DISKS} & set(done)
        if online:
            assert Do.STOP_SOURCE in done and Do.RESUME_TARGET in done
    else:
        assert not {Do.RESUME_TARGET, Do.STOP_SOURCE, Do.FREE_DISKS} & set(done)
        assert (Do.UNLOCK in done) == (Do.LOCK in done)
        assert (Do.ABORT_TARGET in done) == (Do.PREPARE in done)
        assert (Do.RESUME_SOURCE in done) == (Do.SEND in done)
        if Do.RESUME_SOURCE in done:
            assert done.index(Do.ABORT_TARGET) < done.index(Do.RESUME_SOURCE)
    for do in (Do.RESUME_TARGET, Do.RESUME_SOURCE):
        if do in done and Do.SETTLE in done:
            last = max(index for index, name in enumerate(done) if name is Do.SETTLE)
            assert last < done.index(do)


def test_the_steps_of_a_live_migration_with_local_disks() -> None:
    names = [do.name for do in begin(online=True, local_disks=True).ahead]
    assert names == [
        "CHECK", "LOCK", "PREPARE", "MIRROR", "SEND", "FINISH_DISKS", "FINISH_MEMORY",
        "COMMIT", "RESUME_TARGET",
        "STOP_SOURCE", "FREE_DISKS",
    ]  # fmt: skip


def test_everything_that_stands_against_it_is_said_at_once() -> None:
    disks = [
        DiskRequest(key="scsi0", volid="big:100/a", storage="big", format="raw", size=2 << 30, shared=False),
        DiskRequest(key="scsi1", volid="gone:100/b", storage="gone", format="raw", size=1, shared=True),
    ]
    request = Request(
        vmid=100, source="n1", token="t", config="vga: qxl\n", online=True,
        disks=disks, bridges={"net0": "vmbr9"},
        machine="pc-i440fx-10.0", accelerator="kvm", version="10.0.2", memory_mib=4096,
    )  # fmt: skip
    facts = TargetFacts(
        node="n2", version="7.2.0", accelerator="tcg", reason="no /dev/kvm",
        machine_types=["pc-i440fx-7.2"], storages={"big": "",
        "gone": "storage 'gone' does not exist"}, free_bytes={"big": 1 << 30},
        bridges=[], busy=True, owner="n3", memory_free_mib=100, has_spice=False,
    )  # fmt: skip
    text = "\n".join(problems(request, facts))
    for part in ("runs on node 'n2'", "belongs to node 'n3'", "'gone' does not exist", "no room: 2.00 GiB",
                 "bridge 'vmbr9'", "can't make the machine 'pc-i440fx-10.0'", "KVM", "100 MiB",
                 "install qemu-system-modules-spice there"):  # fmt: skip
        assert part in text
