import asyncio
from pathlib import Path

import pytest

from kvorum.core.errors import DeadlineExceeded, KvorumError
from kvorum.core.ids import Upid
from kvorum.interface import TaskLog, Work
from kvorum.tasks import TaskRunner
from kvorum.tasks import runner as runner_module
from kvorum.tasks.archive import Archive
from kvorum.tasks.process import start_ticks
from kvorum.tasks.record import TaskRecord


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "tasks")


@pytest.fixture
def runner(archive: Archive) -> TaskRunner:
    made = TaskRunner("n1", archive)
    made.recover()
    return made


async def fine(log: TaskLog) -> None:
    log.line("one\ntwo")


async def test_a_task_leaves_its_log_and_its_end(runner: TaskRunner, archive: Archive) -> None:
    upid = runner.start(Work("qmstart", "100", fine), "root@pam")
    parsed = Upid.parse(upid)
    assert parsed.pstart >> 16 == start_ticks(parsed.pid)
    assert [record.upid for record in archive.active()] == [parsed]
    record = await runner.wait(upid, 5)
    assert (record.status, record.endtime is not None) == ("OK", True)
    assert archive.log_lines(parsed) == ["one", "two", "TASK OK"]
    assert archive.log_file(parsed).parent.name == f"{parsed.starttime:08X}"[-1]
    assert archive.active() == []
    assert [one.upid for one in archive.ended()] == [parsed]


async def test_two_tasks_of_one_second_differ(runner: TaskRunner) -> None:
    one, two = (runner.start(Work("x", "", fine), "root@pam") for _ in range(2))
    assert one != two
    await runner.wait(one, 5)
    await runner.wait(two, 5)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KvorumError("VM 100 is locked (migrate)"), "VM 100 is locked (migrate)"),
        (ValueError("oops"), "ValueError: oops"),
    ],
)
async def test_an_error_ends_the_task_with_its_sentence(
    runner: TaskRunner, archive: Archive, error: Exception, status: str
) -> None:
    async def fails(log: TaskLog) -> None:
        raise error

    upid = runner.start(Work("qmstart", "100", fails), "root@pam")
    assert (await runner.wait(upid, 5)).status == status
    assert archive.log_lines(Upid.parse(upid)) == [f"TASK ERROR: {status}"]


async def test_warnings_are_counted(runner: TaskRunner, archive: Archive) -> None:
    async def warns(log: TaskLog) -> None:
        log.warn("first")
        log.warn("second")

    upid = runner.start(Work("x", "", warns), "root@pam")
    assert (await runner.wait(upid, 5)).status == "WARNINGS: 2"
    assert archive.log_lines(Upid.parse(upid)) == ["WARN: first", "WARN: second", "TASK WARNINGS: 2"]


class Sleeper:
    """A task that runs until it is stopped, and cleans up then."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cleaned = False

    async def run(self, log: TaskLog) -> None:
        log.progress(0.25, "copying")
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cleaned = True


async def test_a_stopped_task_cleans_up_and_says_who_stopped_it(runner: TaskRunner, archive: Archive) -> None:
    sleeper = Sleeper()
    upid = runner.start(Work("x", "", sleeper.run), "root@pam")
    await asyncio.wait_for(sleeper.started.wait(), 5)
    record = runner.find(upid)
    assert (record.progress, record.doing, record.endtime) == (0.25, "copying", None)
    with pytest.raises(DeadlineExceeded):
        await runner.wait(upid, 0.01)
    await runner.stop(upid, "joe@pve")
    assert sleeper.cleaned
    assert runner.find(upid).status == "interrupted: stopped by joe@pve"
    assert archive.log_lines(Upid.parse(upid)) == ["TASK ERROR: interrupted: stopped by joe@pve"]
    await runner.stop(upid, "joe@pve")


async def test_a_task_stopped_before_its_first_step_ends_too(runner: TaskRunner, archive: Archive) -> None:
    upid = runner.start(Work("x", "", fine), "root@pam")
    await runner.stop(upid, "root@pam")
    assert runner.find(upid).status == "interrupted: stopped by root@pam"
    assert archive.active() == []


async def test_the_daemons_end_ends_its_tasks(runner: TaskRunner) -> None:
    sleepers = [Sleeper() for _ in range(3)]
    upids = [runner.start(Work("x", "", sleeper.run), "root@pam") for sleeper in sleepers]
    for sleeper in sleepers:
        await asyncio.wait_for(sleeper.started.wait(), 5)
    await runner.shut_down(5)
    assert all(sleeper.cleaned for sleeper in sleepers)
    assert {runner.find(upid).status for upid in upids} == {"interrupted: stopped by the end of pvedaemon"}


async def test_tasks_of_a_killed_daemon_are_marked_at_the_next_start(
    runner: TaskRunner, archive: Archive
) -> None:
    sleeper = Sleeper()
    upid = runner.start(Work("x", "", sleeper.run), "root@pam")
    await asyncio.wait_for(sleeper.started.wait(), 5)
    active = archive.active()
    await runner.stop(upid, "the test")
    other = Archive(archive.log_file(Upid.parse(upid)).parents[1].with_name("other"))
    other.prepare()
    other.write_active(active)  # what a daemon killed by SIGKILL leaves
    again = TaskRunner("n1", other)
    again.recover()
    assert again.find(upid).status == "interrupted: pvedaemon restarted"
    assert other.log_lines(Upid.parse(upid)) == ["TASK ERROR: interrupted: pvedaemon restarted"]
    assert other.active() == []
    assert [record.status for record in again.latest()] == ["interrupted: pvedaemon restarted"]


async def test_too_many_tasks_are_refused(runner: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "MAX_RUNNING", 1)
    sleeper = Sleeper()
    runner.start(Work("x", "", sleeper.run), "root@pam")
    with pytest.raises(KvorumError, match="1 tasks are running"):
        runner.start(Work("x", "", fine), "root@pam")
    await runner.shut_down(5)


async def test_unknown_tasks_are_named(runner: TaskRunner) -> None:
    unknown = "UPID:n1:00000001:00000001:00000001:x::root@pam:"
    with pytest.raises(KvorumError, match="no such task"):
        runner.find(unknown)
    with pytest.raises(KvorumError, match="unable to parse worker upid"):
        await runner.wait("nonsense")


async def test_a_flooding_task_is_cut_short(
    runner: TaskRunner, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvorum.tasks.log_file.MAX_BYTES", 100)

    async def floods(log: TaskLog) -> None:
        for _ in range(1000):
            log.line("x" * 20)

    upid = runner.start(Work("x", "", floods), "root@pam")
    await runner.wait(upid, 5)
    lines = archive.log_lines(Upid.parse(upid)) or []
    assert len(lines) == 7
    assert lines[-1] == "TASK OK"


def test_a_long_index_is_turned_over(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvorum.tasks.record import TaskRecord

    monkeypatch.setattr("kvorum.tasks.archive.INDEX_BYTES", 200)
    archive.prepare()
    for number in range(8):
        upid = Upid("n1", 1, number + 1, number, "x", "", "root@pam")
        archive.append(TaskRecord(upid).ended(number, "OK"))
    found = [record.upid.starttime for record in archive.ended()]
    assert found == sorted(found, reverse=True)
    assert found[0] == 7
    assert 3 <= len(found) <= 8


def test_only_whole_lines_of_a_log_are_read(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.prepare()
    upid = Upid("n1", 1, 2, 3, "qmstart", "100", "root@pam")
    archive.log_file(upid).write_text("")
    assert archive.log_lines(upid) == []
    archive.log_file(upid).write_text("one\ntw")
    assert archive.log_lines(upid) == ["one"]


async def test_a_tasks_start_and_end_are_noted_for_the_clusters_log(archive: Archive) -> None:
    noted: list[tuple[str, str, bool]] = []
    runner = TaskRunner("n1", archive, note=lambda *what: noted.append(what))
    runner.recover()

    async def bad(log: TaskLog) -> None:
        raise KvorumError("VM 100 is locked")

    good = runner.start(Work("qmstart", "100", fine), "root@pam")
    await runner.wait(good, 5)
    failed = runner.start(Work("qmstop", "100", bad), "joe@pve")
    await runner.wait(failed, 5)
    assert noted == [
        ("root@pam", f"starting task {good}", True),
        ("root@pam", f"end task {good} OK", True),
        ("joe@pve", f"starting task {failed}", True),
        ("joe@pve", f"end task {failed} VM 100 is locked", False),
    ]


@pytest.mark.parametrize(
    ("before", "status", "lines"),
    [
        ("one\nTASK OK\n", "OK", ["one", "TASK OK"]),
        ("TASK WARNINGS: 2\n", "WARNINGS: 2", ["TASK WARNINGS: 2"]),
        ("TASK ERROR: no room\n", "no room", ["TASK ERROR: no room"]),
        ("one\ntw", runner_module.INTERRUPTED, ["one", "tw", f"TASK ERROR: {runner_module.INTERRUPTED}"]),
    ],
    ids=["ok", "warnings", "error", "torn line"],
)
async def test_a_log_gets_one_end_whenever_the_daemon_was_killed(
    archive: Archive, before: str, status: str, lines: list[str]
) -> None:
    """Killed after its last line, before the index: the task's own end counts."""
    upid = Upid("n1", 1, 1 << 16, 1, "x", "", "root@pam")
    archive.prepare()
    archive.log_file(upid).write_text(before)
    archive.write_active([TaskRecord(upid)])
    again = TaskRunner("n1", archive)
    again.recover()
    assert again.find(str(upid)).status == status
    assert archive.log_lines(upid) == lines


async def test_a_torn_line_of_the_index_swallows_no_other(archive: Archive, tmp_path: Path) -> None:
    archive.prepare()
    (tmp_path / "tasks" / "index").write_text("UPID:n1:00000001:0000")
    record = TaskRecord(Upid("n1", 1, 1 << 16, 1, "x", "", "root@pam")).ended(2, "OK")
    archive.append(record)
    assert list(archive.ended()) == [record]
