"""A dead storage must not hang who asks."""

from __future__ import annotations

import threading

from kvorum.storage.probe import Probe


async def test_a_stuck_question_is_answered_with_the_last_value_and_asked_only_once() -> None:
    release, asked, stuck = threading.Event(), [], [False]

    def question() -> int:
        asked.append(1)
        if stuck[0]:
            release.wait(10)
        return len(asked)

    probe = Probe("storage 's'", question)
    assert (await probe.ask(5)).value == 1
    stuck[0] = True
    for _ in range(3):
        answer = await probe.ask(0.05)
        assert answer.value == 1
        assert "did not answer within 0.05 s" in answer.error
    assert len(asked) == 2
    release.set()
    assert (await probe.ask(5)).value == 2


async def test_a_failure_is_told_and_asked_again() -> None:
    answers = iter([OSError("gone"), 7])

    def question() -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    probe = Probe("s", question)
    assert (await probe.ask(5)).error == "gone"
    assert (await probe.ask(5)).value == 7
