import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvorum.cli import table as table_module
from kvorum.cli.ask import missing_answers
from kvorum.cli.failures import UsageFailure
from kvorum.cli.main import fill, local_node, main
from kvorum.cli.table import Table

from kvorum.cli import pvesh  # isort: skip


@pytest.fixture(autouse=True)
def here(api, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVORUM_ROOT", str(tmp_path))
    monkeypatch.setattr(table_module.Table, "load", lambda: table)


def test_a_list_is_asked_of_the_local_node_and_printed(api, capsys) -> None:
    api.answer(f"GET /nodes/{local_node()}/qemu", [{"vmid": 100, "status": "stopped"}])
    assert main("qm", ["list"]) == 0
    assert "       100 VM 100" in capsys.readouterr().out


def test_json_on_request(api, capsys) -> None:
    api.answer(f"GET /nodes/{local_node()}/qemu", [{"vmid": 100}])
    assert main("qm", ["list", "--output-format", "json"]) == 0
    assert capsys.readouterr().out == '[{"vmid":100}]\n'


def test_a_task_is_followed(api, capsys) -> None:
    upid = "UPID:n1:0:0:0:qmstart:100:root@pam:"
    path = "/nodes/n1/tasks/" + upid.replace(":", "%3A").replace("@", "%40")
    api.answer(f"POST /nodes/{local_node()}/qemu/100/status/start", upid)
    api.answer(f"GET {path}/status", {"status": "stopped", "exitstatus": "OK"})
    api.answer(f"GET {path}/log", [{"n": 1, "t": "hello"}, {"n": 2, "t": "TASK OK"}])
    assert main("qm", ["start", "100"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_errors_exit_with_255_and_their_sentence(api, capsys) -> None:
    api.refuse(
        f"PUT /nodes/{local_node()}/qemu/9/config",
        "400 Parameter verification failed.",
        {"message": "Parameter verification failed.\n", "errors": {"vmid": "too small"}},
    )
    assert main("qm", ["set", "9", "--name", "x"]) == 255
    assert capsys.readouterr().err == "400 Parameter verification failed.\nvmid: too small\n"


def test_a_wrong_line_shows_how_to_write_it(capsys) -> None:
    assert main("qm", ["start"]) == 255
    assert capsys.readouterr().err == "400 not enough arguments\nqm start <vmid> [OPTIONS]\n"


def test_help_goes_to_stdout(capsys) -> None:
    assert main("qm", ["help"]) == main("qm", ["start", "--help"]) == main("qm", ["help", "guest"]) == 0
    out = capsys.readouterr().out
    assert "qm guest exec <vmid> <command>..." in out
    assert "Start virtual machine." in out


def test_pvesh_finds_the_most_literal_path(api, table: Table, capsys) -> None:
    assert pvesh.resolve(table, "GET", "/nodes/n1/qemu/current")[0].path == "/nodes/{node}/qemu/current"
    assert pvesh.resolve(table, "GET", "nodes//n1/qemu/100/")[1] == {"node": "n1", "vmid": "100"}
    api.answer("GET /nodes/n1/qemu", [{"vmid": 100, "name": "a"}])
    assert main("pvesh", ["get", "/nodes/n1/qemu", "--noborder"]) == 0
    assert capsys.readouterr().out == "vmid  name\n 100  a\n"


def test_pvesh_ls_tells_what_each_child_takes(api, capsys) -> None:
    api.answer("GET /nodes/n1/qemu", [{"vmid": 100}])
    assert main("pvesh", ["ls", "/nodes/n1/qemu"]) == 0
    assert capsys.readouterr().out == "Dr---  100\n-r---  current\n"


def test_pvesh_says_when_there_is_no_handler(capsys) -> None:
    assert main("pvesh", ["get", "/nothing"]) == 1
    assert capsys.readouterr().err == "No 'get' handler defined for '/nothing'\n"


def test_a_password_is_asked_twice_and_must_agree(table: Table) -> None:
    method = table.entry("pveum", "passwd").method
    assert missing_answers(method, {}, lambda question: "x") == {"password": "x"}
    assert missing_answers(method, {"password": "given"}, lambda question: "x") == {}
    answers = iter("ab")
    with pytest.raises(UsageFailure, match="differ"):
        missing_answers(method, {}, lambda question: next(answers))


def test_a_command_imports_little(api, tmp_path: Path) -> None:
    code = (
        "import sys; from kvorum.cli.main import main; import kvorum.cli.output.guests; main('qm', ['x']);"
        "print(sorted({n.partition('.')[0] for n in sys.modules}"
        " & {'pydantic','aiohttp','msgspec','asyncio','ssl','click','rich','cryptography'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    assert done.stdout == "[]\n"


def test_a_volume_s_id_names_its_storage_for_the_path() -> None:
    method = table_module.MethodEntry("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}")
    filled = fill(method, {"node": "n1", "volume": "zp:vm-100-disk-0"})
    assert filled == ("/nodes/n1/storage/zp/content/zp%3Avm-100-disk-0", {})
