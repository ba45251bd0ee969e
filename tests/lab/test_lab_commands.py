"""``kvorum lab``'s commands on a running lab, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kvorum.lab import Lab


def _kvorum(lab: Lab, *argv: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("kvorum"), "lab", "--dir", lab.places.state.parent, *argv],
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_exec_passes_input_output_and_exit_status_on(lab: Lab) -> None:
    done = _kvorum(lab, "exec", "n2", "--", "sh", "-c", "cat; hostname; echo wrong >&2; exit 7", said="in\n")
    assert (done.stdout, done.stderr, done.returncode) == ("in\nn2\n", "wrong\n", 7)


def test_a_command_killed_by_a_signal_ends_as_a_shell_tells_it(lab: Lab) -> None:
    assert _kvorum(lab, "exec", "n1", "--", "sh", "-c", "kill -KILL $$").returncode == 128 + 9


def test_shell_is_roots_with_the_exit_status_of_its_last_command(lab: Lab) -> None:
    done = _kvorum(lab, "shell", "n3", said="id -un; pwd; hostname; exit 5\n")
    assert (done.stdout, done.returncode) == ("root\n/root\nn3\n", 5)


def test_status_tells_programs_all_it_shows(lab: Lab) -> None:
    lab.cut("n3")
    told = json.loads(_kvorum(lab, "status", "--json").stdout)
    machine = {m["name"]: m for m in told["machines"]}
    assert machine["n1"]["addresses"] == ["198.18.10.1", "198.18.11.1", "198.18.12.1"]
    assert {name: m["state"] for name, m in machine.items()} == {
        "n1": "running",
        "n2": "running",
        "n3": "cut",
    }
    assert told["password"] == lab.password
    assert {"page", "faults", "lossy"} <= told.keys()
    shown = _kvorum(lab, "status").stdout
    assert all(word in shown for word in ("n1", "198.18.10.1", "running", "cut", lab.password))


def test_the_journal_is_shown_also_of_a_machine_that_is_off(lab: Lab) -> None:
    lab.exec("n2", ["sh", "-c", "echo seen before the cut | systemd-cat; journalctl --sync"], check=True)
    lab.cut("n2")
    assert "seen before the cut" in _kvorum(lab, "log", "n2", "-n", "50").stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("up",), "already up"),
        (("exec", "n9", "true"), "no machine 'n9'"),
        (("log", "n9"), "no machine 'n9'"),
        (("power", "n1"), "n1 is running"),
        (("thaw", "n1"), "n1 is running, not frozen"),
        (("partition", "n1"), "n1"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(lab: Lab, argv: tuple[str, ...], said: str) -> None:
    done = _kvorum(lab, *argv)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
