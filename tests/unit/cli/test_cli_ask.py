"""Questions at a real (pseudo) terminal."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

FINGERPRINT = ":".join(["AB"] * 32)
QUESTION = "Are you sure you want to continue connecting (yes/no)? "
PASSWORD = "Please enter superuser (root) password for '198.18.10.1': "
DEADLINE_S = 20.0


class Terminal:
    """``pvecm ARGUMENTS`` with a terminal of its own, as a person sees it."""

    def __init__(self, root: Path, *argv: str) -> None:
        self.seen = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            code = "import sys; from kvorum.cli.main import main; sys.exit(main('pvecm', sys.argv[1:]))"
            os.environ["KVORUM_ROOT"] = str(root)
            os.execv(sys.executable, [sys.executable, "-c", code, *argv])

    def expect(self, text: str) -> None:
        """Read until the text has been shown; what was shown before it is left behind."""
        end = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert select.select([self._fd], [], [], max(0, end - time.monotonic()))[0], self.seen
            more = self._read()
            assert more, self.seen
            self.seen += more
        self.seen = self.seen.partition(text)[2]

    def type(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")

    def end(self) -> int:
        """Read all that follows; returns the exit status."""
        while select.select([self._fd], [], [], DEADLINE_S)[0] and (more := self._read()):
            self.seen += more
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> str:
        try:
            return os.read(self._fd, 65536).decode().replace("\r\n", "\n")
        except OSError:  # the other end is closed: Linux says EIO
            return ""


@pytest.fixture(autouse=True)
def peer(api) -> None:
    api.answer("GET /kvorum/cluster/fingerprint", FINGERPRINT)
    api.answer("POST /cluster/config/join", None)


def joins(api) -> list[dict[str, str]]:
    return [dict(given) for verb, path, given in api.asked if verb == "POST"]


def test_at_a_terminal_the_fingerprint_is_shown_and_accepted(api, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "add", "198.18.10.1")
    terminal.expect("The authenticity of host '198.18.10.1' can't be established.\n")
    terminal.expect(f"X509 SHA256 key fingerprint is {FINGERPRINT}.\n")
    terminal.expect(QUESTION)
    terminal.type("ja")
    terminal.expect("Please type 'yes' or 'no': ")
    terminal.type("yes")
    terminal.expect(PASSWORD)
    terminal.type("secret")
    assert terminal.end() == 0
    assert "secret" not in terminal.seen
    assert joins(api) == [{"hostname": "198.18.10.1", "fingerprint": FINGERPRINT, "password": "secret"}]
    assert ("GET", "/kvorum/cluster/fingerprint", [("hostname", "198.18.10.1")]) in api.asked


def test_whoever_says_no_is_not_asked_for_the_password(api, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "add", "198.18.10.1")
    terminal.expect(QUESTION)
    terminal.type("no")
    assert terminal.end() == 255
    assert "not confirmed: nothing was changed" in terminal.seen
    assert "password" not in terminal.seen
    assert joins(api) == []


def test_a_given_fingerprint_is_not_asked_for(api, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "add", "198.18.10.1", "--fingerprint", FINGERPRINT)
    terminal.expect(PASSWORD)
    terminal.type("secret")
    assert terminal.end() == 0
    assert [path for _, path, _ in api.asked] == ["/cluster/config/join"]


def test_a_silent_peer_is_one_sentence(api, tmp_path: Path) -> None:
    sentence = "198.18.10.1:8006 can't be reached"
    api.refuse("GET /kvorum/cluster/fingerprint", f"595 {sentence}", {"message": sentence})
    terminal = Terminal(tmp_path, "add", "198.18.10.1")
    assert terminal.end() == 255
    assert terminal.seen == f"{sentence}\n"


def test_without_a_terminal_nobody_is_asked(api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from kvorum.cli.main import main

    monkeypatch.setenv("KVORUM_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    assert main("pvecm", ["add", "198.18.10.1"]) == 0
    assert joins(api) == [{"hostname": "198.18.10.1", "password": "secret"}]
    assert not [path for verb, path, _ in api.asked if verb == "GET"]


WAITING = "waiting for n1, last seen together at 2026-11-28 05:00:00 UTC"


def test_adopting_says_who_is_missing_and_wants_a_yes(api, tmp_path: Path) -> None:
    api.answer("GET /kvorum/cluster/adopt", WAITING)
    api.answer("POST /kvorum/cluster/adopt", None)
    terminal = Terminal(tmp_path, "adopt")
    terminal.expect(f"This node is {WAITING}\n")
    terminal.expect("Go on without them (yes/no)? ")
    terminal.type("yes")
    assert terminal.end() == 0
    assert joins(api) == [{"yes": "1"}]


def test_whoever_does_not_say_yes_adopts_nothing(api, tmp_path: Path) -> None:
    api.answer("GET /kvorum/cluster/adopt", WAITING)
    terminal = Terminal(tmp_path, "adopt")
    terminal.expect("(yes/no)? ")
    terminal.type("no")
    assert terminal.end() == 255
    assert joins(api) == []


def test_who_says_so_beforehand_is_not_asked(api, tmp_path: Path) -> None:
    api.answer("POST /kvorum/cluster/adopt", None)
    terminal = Terminal(tmp_path, "adopt", "--yes")
    assert terminal.end() == 0
    assert joins(api) == [{"yes": "1"}] and len(api.asked) == 1


def test_a_node_that_waits_for_nobody_asks_nothing(api, tmp_path: Path) -> None:
    sentence = "nothing to adopt: this node waits for nobody"
    api.refuse("GET /kvorum/cluster/adopt", f"500 {sentence}", {"message": sentence})
    terminal = Terminal(tmp_path, "adopt")
    assert terminal.end() == 255
    assert terminal.seen == f"{sentence}\n" and joins(api) == []


@pytest.mark.parametrize(
    ("given", "asked"),
    [({}, True), ({"key": "/root/k"}, False), ({"manual": "1"}, False), ({"password": "x"}, False)],
)
def test_an_optional_value_is_asked_for_unless_another_way_was_given(
    given: dict[str, str], asked: bool
) -> None:
    from kvorum.cli.ask import missing_answers
    from kvorum.cli.table import MethodEntry, Parameter

    password = Parameter("password", ask="Password of {address}: ", unless=("key", "manual"))
    method = MethodEntry("POST", "/x", parameters={"password": password})
    questions: list[str] = []

    def read(question: str) -> str:
        questions.append(question)
        return "secret"

    answers = missing_answers(method, {"address": "q1", **given}, read)
    assert (questions, answers) == ((["Password of q1: "], {"password": "secret"}) if asked else ([], {}))
