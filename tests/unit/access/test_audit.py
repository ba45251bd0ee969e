import json
import stat
from pathlib import Path

import pytest

from kvorum.access import AuditLog
from kvorum.access import audit as module
from kvorum.interface import Identity

JOE = Identity("joe@pve", token="ci", address="192.0.2.7")


def note(log: AuditLog, **parameters: str) -> None:
    log.note(JOE, "POST", "/nodes/n1/qemu", parameters, 200, "UPID:n1:0:0:0:qmcreate:100:joe@pve!ci:")


def test_a_line_says_who_from_where_what_and_which_task(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log" / "audit.log", lambda: 1_800_000_000.25)
    note(log, vmid="100", cipassword="hunter2", name="x" * 1000)
    (line,) = (tmp_path / "log" / "audit.log").read_text().splitlines()
    entry = json.loads(line)
    assert entry == {
        "time": "2027-01-15T08:00:00.250Z",
        "user": "joe@pve!ci",
        "address": "192.0.2.7",
        "method": "POST",
        "path": "/nodes/n1/qemu",
        "parameters": {"vmid": "100", "cipassword": None, "name": "x" * 256},
        "status": 200,
        "task": "UPID:n1:0:0:0:qmcreate:100:joe@pve!ci:",
    }
    assert stat.S_IMODE((tmp_path / "log" / "audit.log").stat().st_mode) & 0o007 == 0


def test_a_line_end_in_a_value_makes_no_second_line(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    note(log, vmid='100\n{"user": "root@pam"}', **{"odd\nname": "x"})
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 1


def test_it_is_moved_away_when_large_and_a_bounded_number_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_BYTES", 1000)
    log = AuditLog(tmp_path / "audit.log")
    for number in range(50):
        note(log, vmid=str(100 + number))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert set(names) - {"audit.log"} == {f"audit.log.{n}" for n in range(1, module.KEPT + 1)}
    assert "149" in "".join((tmp_path / n).read_text() for n in ("audit.log.1", *names[:1]))


def test_a_file_that_cannot_be_written_is_said_and_hinders_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    note(AuditLog(tmp_path / "audit.log"), vmid="100")
    assert "not in the audit log" in caplog.text
    assert (tmp_path / "elsewhere").read_text() == "", "a link that somebody put there is not followed"
