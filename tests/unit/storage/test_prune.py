"""Which backups stay."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.storage import Volume
from kvorum.storage.prune import judge, parse

MOMENTS = st.lists(st.datetimes(datetime.datetime(2024, 1, 1), datetime.datetime(2027, 1, 1)), max_size=40)
RULE = st.dictionaries(
    st.sampled_from(["keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly"]),
    st.integers(0, 5),
)


def backup(at: datetime.datetime, vmid: int = 100, type: str = "qemu", protected: bool = False) -> Volume:
    name = f"local:backup/vzdump-{type}-{vmid}-{at:%Y_%m_%d-%H_%M_%S}.vma.zst"
    return Volume(volid=name, content="backup", format="vma.zst", size=1, protected=protected)


def on(*days: str) -> list[Volume]:
    return [backup(datetime.datetime.fromisoformat(day)) for day in days]


def kept(volumes: list[Volume], rules: str) -> list[str]:
    """The moments of those that stay, as written in their names."""
    return [one.volid[29:48] for one in judge(volumes, parse(rules)) if one.mark == "keep"]


NIGHTLY = on(*(f"2026-{month:02}-{day:02} 01:00" for month in range(1, 7) for day in range(1, 29)))


def test_the_newest_of_each_period_stays_and_later_rules_look_at_older_ones() -> None:
    assert kept(NIGHTLY, "keep-last=2,keep-daily=2,keep-monthly=2") == [
        "2026_06_28-01_00_00",
        "2026_06_27-01_00_00",
        "2026_06_26-01_00_00",
        "2026_06_25-01_00_00",
        "2026_05_28-01_00_00",
        "2026_04_28-01_00_00",
    ]


def test_of_a_period_only_the_newest_stays() -> None:
    day = on("2026-03-01 06:00", "2026-03-01 12:00", "2026-03-01 12:40", "2026-02-28 23:00")
    assert kept(day, "keep-daily=5") == ["2026_03_01-12_40_00", "2026_02_28-23_00_00"]
    assert kept(day, "keep-hourly=2") == ["2026_03_01-12_40_00", "2026_03_01-06_00_00"]


def test_weeks_are_those_of_iso_8601_also_over_a_new_year() -> None:
    days = on("2027-01-03 01:00", "2026-12-31 01:00", "2026-12-28 01:00", "2026-12-27 01:00")
    assert kept(days, "keep-weekly=5") == ["2027_01_03-01_00_00", "2026_12_27-01_00_00"]


def test_periods_without_a_backup_do_not_count() -> None:
    assert len(kept(on("2026-05-01", "2024-05-01", "2020-05-01"), "keep-yearly=3")) == 3


@pytest.mark.parametrize("rules", ["", "keep-all=1", "keep-last=0", "keep-all=0"])
def test_without_a_rule_everything_stays(rules: str) -> None:
    assert len(kept(NIGHTLY, rules)) == len(NIGHTLY)


def test_each_guest_has_its_own_and_what_is_protected_or_renamed_stays_and_counts_for_nothing() -> None:
    newest = datetime.datetime(2026, 5, 3)
    own_name = Volume(volid="local:backup/before-upgrade.vma.zst", content="backup", format="", size=1)
    volumes = [
        *on("2026-05-01", "2026-05-02"),
        backup(newest, protected=True),
        backup(newest, vmid=101),
        backup(newest, type="lxc"),
        own_name,
    ]
    marks = {one.volid.partition("/")[2]: one.mark for one in judge(volumes, parse("keep-last=1"))}
    assert marks == {
        "vzdump-qemu-100-2026_05_01-00_00_00.vma.zst": "remove",
        "vzdump-qemu-100-2026_05_02-00_00_00.vma.zst": "keep",
        "vzdump-qemu-100-2026_05_03-00_00_00.vma.zst": "protected",
        "vzdump-qemu-101-2026_05_03-00_00_00.vma.zst": "keep",
        "vzdump-lxc-100-2026_05_03-00_00_00.vma.zst": "keep",
        "before-upgrade.vma.zst": "renamed",
    }


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        ("keep-last", "key=value"),
        ("keep-lats=1", "'keep-lats' is no rule"),
        ("keep-last=-1", "keep-last=-1"),
        ("keep-last=1,keep-last=2", "twice"),
        ("keep-all=1,keep-last=1", "no other rule"),
        ("keep-daily=99999", "from 0 to 10000"),
    ],
)
def test_a_wrong_rule_is_named(rules: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse(rules)


@given(MOMENTS, RULE)
def test_the_newest_stays_and_no_rule_keeps_more_than_it_says(
    moments: list[datetime.datetime], rules: dict[str, int]
) -> None:
    volumes = [backup(at) for at in {at.replace(microsecond=0) for at in moments}]
    found = judge(volumes, rules)
    assert {one.volid for one in found} == {volume.volid for volume in volumes}
    stay = [one for one in found if one.mark == "keep"]
    total = sum(rules.values())
    assert len(stay) <= (total or len(volumes))
    assert len(stay) >= min(len(volumes), max(rules.get("keep-last", 0), 1 if total else len(volumes)))
    if found:
        assert found[0].mark == "keep"


@given(MOMENTS, RULE)
def test_pruning_again_removes_nothing_more(moments: list[datetime.datetime], rules: dict[str, int]) -> None:
    volumes = {one.volid: one for one in (backup(at) for at in moments)}
    stay = [one.volid for one in judge(volumes.values(), rules) if one.mark == "keep"]
    again = judge([volumes[name] for name in stay], rules)
    assert [one.volid for one in again if one.mark == "keep"] == stay
