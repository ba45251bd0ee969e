"""A withdrawal that could not be said is kept and said again, until it is heard or nobody waits for it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvorum.cluster.withdrawal import KEPT_S, LATE_S, Withdrawal, Withdrawals
from kvorum.core.errors import AuthenticationError, Unreachable
from kvorum.corosync import ConfiguredNode, new_cluster

TEXT = new_cluster("home", ConfiguredNode("n1", 1, 1, {0: "10.0.0.1"})).text
NOTES = {"host": "10.0.0.1", "fingerprint": "AB", "secret": "cd", "configuration": TEXT}


def one() -> Withdrawal:
    made = Withdrawal.of("n2", NOTES)
    assert made is not None and made.cluster == "home"
    return made


def test_notes_that_say_too_little_are_none() -> None:
    assert Withdrawal.of("n2", {"host": "10.0.0.1"}) is None


async def test_it_is_said_until_it_is_heard(tmp_path: Path) -> None:
    kept, heard, log = Withdrawals(tmp_path / "w"), list[str](), list[str]()
    kept.add(one())
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o600

    async def dead(withdrawal: Withdrawal) -> None:
        raise Unreachable("no answer")

    async def hears(withdrawal: Withdrawal) -> None:
        heard.append(withdrawal.secret)

    assert await kept.say(dead, log.append) and not log
    assert not await Withdrawals(tmp_path / "w").say(hears, log.append)
    assert heard == ["cd"] and log == ["10.0.0.1 does not list this node any more"]
    assert not await kept.say(hears, log.append) and heard == ["cd"]


@pytest.mark.parametrize(
    ("age_s", "answered", "error", "left", "said"),
    [
        (0, True, AuthenticationError("no"), False, "knows nothing"),
        (0, False, AuthenticationError("no"), True, ""),  # its request may still wait there
        (LATE_S + 1, False, AuthenticationError("no"), False, "knows nothing"),
        (KEPT_S + 1, True, Unreachable("dead"), False, "run 'pvecm delnode n2'"),
    ],
)
async def test_when_it_is_given_up(
    tmp_path: Path, age_s: float, answered: bool, error: Exception, left: bool, said: str
) -> None:
    kept, log = Withdrawals(tmp_path / "w"), list[str]()
    kept.add(replace(one(), since=time.time() - age_s, cluster="home" if answered else ""))

    async def refuses(withdrawal: Withdrawal) -> None:
        raise error

    assert await kept.say(refuses, log.append) is left
    assert said in "".join(log) and bool(said) == bool(log)


def test_a_join_that_succeeds_takes_back_what_was_to_be_said_there(tmp_path: Path) -> None:
    kept = Withdrawals(tmp_path / "w")
    kept.add(one())
    kept.add(replace(one(), host="10.9.0.1", cluster="other"))
    kept.forget("home")
    assert [left.cluster for left in kept.read()] == ["other"]
