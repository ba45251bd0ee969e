"""The fault walk's judge finds each broken promise, and nothing in a history that keeps them."""

from __future__ import annotations

import json

import pytest
from store_judge import Held, Operation, disagreements, judge, operations


def own(outcome: str = "done", version: int = 0, path: str = "chaos/own/a") -> Operation:
    return Operation("a", "own", path, "sha", 1.0, end=2.0, outcome=outcome, version=version)


def renamed(outcome: str) -> Operation:
    return Operation("r", "rename", "chaos/own/a", "sha", 3.0, source="chaos/own/a.tmp", outcome=outcome)


def holding(*paths: str, sha: str = "sha", version: int = 7, **texts: str) -> Held:
    return Held({}, dict.fromkeys(paths, (sha, version)), {f"chaos/{k}": text for k, text in texts.items()})


HERE = holding("chaos/own/a")


@pytest.mark.parametrize(
    ("asked", "held", "found"),
    [
        ([own()], HERE, None),
        ([own("unknown")], HERE, None),
        ([own("unknown")], holding(), None),
        ([own("refused")], holding(), None),
        ([own(version=7)], HERE, None),
        ([own()], holding(), "is lost"),
        ([own("refused")], HERE, "and is there"),
        ([own("conflict")], HERE, "and is there"),
        ([own("unknown")], holding("chaos/own/a", sha="torn"), "is not what a wrote"),
        ([own(version=9)], HERE, None),
        ([own(version=5)], HERE, "acknowledged at version 5 and written again at 7"),
        ([], HERE, "nobody wrote it"),
    ],
)  # fmt: skip
def test_a_file_of_its_own_is_as_its_writer_was_told(asked, held, found) -> None:
    assert_found(judge(asked, held).findings, found)


@pytest.mark.parametrize(
    ("outcome", "there", "found"),
    [
        ("done", ("chaos/own/a",), None),
        ("refused", ("chaos/own/a.tmp",), None),
        ("unknown", ("chaos/own/a",), None),
        ("unknown", ("chaos/own/a.tmp",), None),
        ("unknown", (), "is lost"),
        ("done", ("chaos/own/a.tmp",), "was answered 'done'"),
        ("refused", ("chaos/own/a",), "was answered 'refused'"),
        ("done", ("chaos/own/a", "chaos/own/a.tmp"), "under both its names"),
    ],
)  # fmt: skip
def test_a_renamed_file_is_at_the_place_that_was_told(outcome, there, found) -> None:
    asked = [own(path="chaos/own/a.tmp"), renamed(outcome)]
    assert_found(judge(asked, holding(*there)).findings, found)


def line(name: str, start: float, end: float | None, outcome: str = "done") -> Operation:
    return Operation(name, "append", "chaos/lines", "", start, value=name, end=end, outcome=outcome)


@pytest.mark.parametrize(
    ("asked", "text", "found"),
    [
        ([line("a", 1, 2), line("b", 3, 4)], "a\nb\n", None),
        ([line("a", 1, 4), line("b", 2, 3)], "b\na\n", None),
        ([line("a", 1, None, "unknown")], "", None),
        ([line("a", 1, 2, "conflict")], "", None),
        ([line("a", 1, 2)], "", "a 0 times"),
        ([line("a", 1, 2)], "a\na\n", "a 2 times"),
        ([line("a", 1, None, "unknown")], "a\na\n", "a 2 times"),
        ([line("a", 1, 2, "refused")], "a\n", "a 1 times"),
        ([line("a", 1, 2), line("b", 3, 4)], "b\na\n", "a after b"),
        ([line("a", 1, 2)], "a\nz\n", "nobody wrote"),
    ],
)
def test_appended_lines_are_there_once_and_in_their_order(asked, text, found) -> None:
    assert_found(judge(asked, holding(lines=text)).findings, found)


def test_a_shared_file_must_be_linearizable() -> None:
    def swap(name: str, start: float, expected: str | None, outcome: str = "done") -> Operation:
        return Operation(
            name, "swap", "chaos/shared", "", start, name, expected, end=start + 1, outcome=outcome
        )

    asked = [swap("a", 1, None), swap("b", 3, "a"), swap("c", 5, "a", "conflict")]
    assert judge(asked, holding(shared="b")).findings == ()
    assert_found(judge(asked, holding(shared="a")).findings, "not linearizable")
    assert_found(judge([*asked, swap("d", 7, "a")], holding(shared="d")).findings, "not linearizable")
    assert_found(judge(asked, holding(shared="c")).findings, "not linearizable")


def test_nodes_and_both_faces_of_each_must_agree() -> None:
    whole = Held({"chaos/own/a": "sha"}, {"chaos/own/a": ("sha", 7), "user.cfg": ("x", 1)})
    assert disagreements({"n1": whole, "n2": whole}) == []
    stale = Held({"chaos/own/a": "old"}, whole.stored)
    assert_found(disagreements({"n1": whole, "n2": stale}), "in its /etc/pve")
    behind = Held(whole.shown, {**whole.stored, "user.cfg": ("x", 2)})
    assert_found(disagreements({"n1": whole, "n2": behind}), "'user.cfg' is ('x', 1) on n1, ('x', 2) on n2")


def test_writers_lines_become_operations_and_a_second_answer_is_told() -> None:
    asked = json.dumps({"id": "a", "kind": "own", "path": "p", "sha": "s", "start": 1.0})
    answer = json.dumps({"id": "a", "end": 2.0, "outcome": "done", "version": 3, "text": ""})
    assert operations([asked]) == ([Operation("a", "own", "p", "s", 1.0)], [])
    done = Operation("a", "own", "p", "s", 1.0, end=2.0, outcome="done", version=3)
    assert operations([asked, answer]) == ([done], [])
    assert_found(operations([asked, answer, answer])[1], "answered twice")


def assert_found(findings, what) -> None:
    if what is None:
        assert not findings
    else:
        [finding] = findings
        assert what in finding
