from hypothesis import example, given
from hypothesis import strategies as st

from kvorum.core.ids import Upid
from kvorum.tasks.record import Filter, TaskRecord, kind, newest_first, one_line, row


def record(
    number: int = 1,
    status: str | None = "OK",
    *,
    type: str = "qmstart",
    id: str = "100",
    user: str = "root@pam",
) -> TaskRecord:
    upid = Upid("n1", 1, (5 << 16) | number, 1000 + number, type, id, user)
    return TaskRecord(upid) if status is None else TaskRecord(upid).ended(2000 + number, status)


def test_a_line_of_the_index_has_upid_end_and_status() -> None:
    assert record(1, "migration problems").line().endswith(": 000007D1 migration problems")
    assert record(1, None).line().endswith(": 0")


@given(st.text(), st.integers(0, 2**32 - 1))
@example("0 \x1e0", 2)
@example("0" * 999 + " 0", 2)
def test_what_is_written_is_read_back(status: str, endtime: int) -> None:
    for one in (record(1, None), TaskRecord(record().upid).ended(endtime, status)):
        if one.endtime not in (0, 1):
            assert TaskRecord.parse(one.line()) == one


@given(st.text())
def test_a_broken_line_is_skipped(line: str) -> None:
    assert TaskRecord.parse(line) is None


def test_a_row_names_user_and_token_apart() -> None:
    shown = row(record(user="root@pam!ci"))
    assert (shown["user"], shown["tokenid"], shown["status"], shown["endtime"]) == (
        "root@pam",
        "ci",
        "OK",
        2001,
    )
    assert "status" not in row(record(1, None))


def test_kinds_follow_the_status() -> None:
    found = [kind(record(1, status)) for status in (None, "OK", "WARNINGS: 2", "unknown", "no space left")]
    assert found == ["running", "ok", "warning", "unknown", "error"]


def test_filters_pick_by_each_criterion() -> None:
    records = [
        record(1),
        record(2, "boom"),
        record(3, "WARNINGS: 1", id="101"),
        record(4, type="vzdump", user="joe@pve"),
    ]

    def picked(wanted: Filter) -> list[int]:
        return [one.upid.starttime - 1000 for one in records if wanted.fits(one)]

    assert picked(Filter()) == [1, 2, 3, 4]
    assert picked(Filter(errors=True)) == [2]
    assert picked(Filter(vmid="101")) == [3]
    assert picked(Filter(type="vzdump")) == [4]
    assert picked(Filter(user="joe")) == [4]
    assert picked(Filter(since=1002, until=1003)) == [2, 3]
    assert picked(Filter(statuses=("ok", "warning"))) == [1, 3, 4]


def test_each_task_is_listed_once_and_its_end_counts() -> None:
    assert newest_first([record(1, None), record(2), record(1)]) == [record(2), record(1)]


def test_one_line_is_one_line() -> None:
    assert one_line("a\x1b[31m\nb") == "a?[31m"
    assert one_line(" \n ") == ""
