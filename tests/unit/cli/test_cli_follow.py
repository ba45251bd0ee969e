import pytest

from kvorum.cli.client import Client
from kvorum.cli.failures import CallRefused
from kvorum.cli.follow import follow

UPID = "UPID:n2:00000001:00000002:00000003:qmstart:100:root@pam:"
PATH = "/nodes/n2/tasks/UPID%3An2%3A00000001%3A00000002%3A00000003%3Aqmstart%3A100%3Aroot%40pam%3A"


def log(*lines: str, first: int = 1) -> list[dict[str, object]]:
    return [{"n": first + i, "t": text} for i, text in enumerate(lines)]


def run(api, exitstatus: str, pause=lambda seconds: None) -> int:
    api.answer(
        f"GET {PATH}/status",
        {"status": "running", "progress": 0.5},
        {"status": "stopped", "exitstatus": exitstatus},
    )
    api.answer(f"GET {PATH}/log", log("one"), log("two", f"TASK {exitstatus}", first=2))
    return follow(Client(api.socket), UPID, pause=pause)


@pytest.mark.parametrize(("exitstatus", "code"), [("OK", 0), ("WARNINGS: 2", 1), ("no space left", 255)])
def test_lines_are_shown_once_and_the_fate_is_the_exit_status(
    api, capsys, exitstatus: str, code: int
) -> None:
    if exitstatus == "no space left":
        api.answer(f"GET {PATH}/status", {"status": "stopped", "exitstatus": exitstatus})
        api.answer(f"GET {PATH}/log", log("one", "two", f"TASK ERROR: {exitstatus}"))
        assert follow(Client(api.socket), UPID) == code
    else:
        api_code = run(api, exitstatus) if exitstatus == "OK" else _warned(api, exitstatus)
        assert api_code == code
    out, err = capsys.readouterr()
    assert out == "one\ntwo\n"
    assert err == ("" if code == 0 else f"{exitstatus}\n")


def _warned(api, exitstatus: str) -> int:
    api.answer(f"GET {PATH}/status", {"status": "stopped", "exitstatus": exitstatus})
    api.answer(f"GET {PATH}/log", log("one", "two", f"TASK {exitstatus}"))
    return follow(Client(api.socket), UPID)


def test_an_interrupt_asks_the_task_to_stop_and_goes_on_watching(api, capsys) -> None:
    api.answer(f"DELETE {PATH}", None)
    interrupts = iter([KeyboardInterrupt])

    def pause(seconds: float) -> None:
        for interrupt in interrupts:
            raise interrupt

    api.answer(
        f"GET {PATH}/status", {"status": "running"}, {"status": "stopped", "exitstatus": "interrupted"}
    )
    api.answer(f"GET {PATH}/log", log("one"))
    assert follow(Client(api.socket), UPID, pause=pause) == 255
    assert ("DELETE", PATH.replace("%3A", "%3A"), []) in api.asked
    assert "interrupted" in capsys.readouterr().err


def test_a_second_interrupt_leaves_the_task_running(api, capsys) -> None:
    api.answer(f"DELETE {PATH}", None)
    api.answer(f"GET {PATH}/status", {"status": "running"})
    api.answer(f"GET {PATH}/log", [])

    def pause(seconds: float) -> None:
        raise KeyboardInterrupt

    assert follow(Client(api.socket), UPID, pause=pause) == 130
    assert f"the task goes on: {UPID}" in capsys.readouterr().err


def test_a_daemon_that_is_away_for_a_while_is_waited_for(api) -> None:
    waits: list[float] = []
    api.answers[f"GET {PATH}/status"] = [
        ("595 No route", b"{}"),
        ("200 OK", b'{"data":{"status":"stopped","exitstatus":"OK"}}'),
    ]
    api.answer(f"GET {PATH}/log", [])
    assert follow(Client(api.socket), UPID, pause=waits.append) == 0
    assert len(waits) == 1


def test_a_refusal_is_not_waited_out(api) -> None:
    api.refuse(f"GET {PATH}/status", "500 no such task", {})
    with pytest.raises(CallRefused, match="no such task"):
        follow(Client(api.socket), UPID)
