import json
import time

import pytest

from kvorum.cli.arguments import Presentation
from kvorum.cli.output import boxes, guests, history, links, plain, storages
from kvorum.cli.output.formats import encode

SHOWN = Presentation()


def test_qm_list_is_in_the_known_columns() -> None:
    rows = [
        {"vmid": 101, "name": "b", "status": "stopped", "maxmem": 512 << 20, "maxdisk": 0},
        {"vmid": 100, "name": "a", "status": "running", "maxmem": 1 << 30, "maxdisk": 3 << 29, "pid": 77},
    ]
    assert guests.listing(rows, SHOWN) == (
        "      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID       \n"
        "       100 a                    running    1024               1.50 77        \n"
        "       101 b                    stopped    512                0.00 0         \n"
    )


def test_qm_list_of_nothing_prints_nothing() -> None:
    assert guests.listing([], SHOWN) == ""


def test_qm_status_is_one_line_unless_verbose() -> None:
    value = {"status": "running", "vmid": 100}
    assert guests.status(value, SHOWN) == "status: running\n"
    assert guests.status(value, Presentation(verbose=True)) == "status: running\nvmid: 100\n"


def test_qm_config_hides_the_digest_and_encodes_the_description() -> None:
    value = {"name": "web", "digest": "ab", "description": "a: 50%\nü", "cores": 2}
    assert guests.config(value, SHOWN) == "cores: 2\ndescription: a%3A 50%25%0A%C3%BC\nname: web\n"


def test_qm_showcmd_is_what_a_shell_takes_and_pretty_an_option_a_line() -> None:
    assert guests.command_line(["qemu", "-name", "a b"], SHOWN) == "qemu -name 'a b'\n"
    assert (
        guests.command_line([["qemu"], ["-S"], ["-name", "a b"]], SHOWN)
        == "qemu \\\n  -S \\\n  -name 'a b'\n"
    )


def test_qm_pending_tells_now_from_later() -> None:
    rows = [
        {"key": "cores", "value": 1, "pending": 2},
        {"key": "name", "value": "x"},
        {"key": "net0", "value": "y", "delete": 1},
    ]
    assert guests.pending(rows, SHOWN) == "cur cores: 1\nnew cores: 2\ncur name: x\ndel net0: y\n"


def test_snapshots_are_shown_as_a_tree() -> None:
    rows = [
        {"name": "current", "parent": "b", "description": "You are here!"},
        {"name": "a"},
        {"name": "b", "parent": "a"},
    ]
    names = [line.split("`-> ")[1].split()[0] for line in guests.snapshots(rows, SHOWN).splitlines()]
    assert names == ["a", "b", "current"]
    assert guests.snapshots(rows, SHOWN).splitlines()[2].startswith("  `-> current")


def test_a_table_has_lines_and_numbers_on_the_right() -> None:
    rows = [{"b": 5, "a": "x"}, {"b": 10, "a": "日本"}]
    assert boxes.table(rows, Presentation(columns=("a", "b", "absent"))) == (
        "┌──────┬────┐\n│ a    │ b  │\n╞══════╪════╡\n│ x    │  5 │\n"
        "├──────┼────┤\n│ 日本 │ 10 │\n└──────┴────┘\n"
    )
    assert boxes.table(rows[:1], Presentation(columns=("a", "b"), box=False)) == (
        "+---+---+\n| a | b |\n+---+---+\n| x | 5 |\n+---+---+\n"
    )
    assert boxes.table(rows[:1], Presentation(border=False, header=False)) == "5  x\n"


@pytest.mark.parametrize("value", [None, [], {}])
def test_nothing_prints_nothing(value: object) -> None:
    assert boxes.table(value, SHOWN) == plain.generic(value, SHOWN) == ""


def test_an_object_of_a_command_is_key_value() -> None:
    assert plain.generic({"b": True, "a": [1], "c": None}, SHOWN) == "a: [1]\nb: 1\n"


def test_pvesm_status_counts_in_kib() -> None:
    rows = [
        {
            "storage": "local",
            "type": "dir",
            "active": 1,
            "enabled": 1,
            "total": 4096,
            "used": 1024,
            "avail": 3072,
        },
        {"storage": "zz", "type": "nfs", "active": 0, "enabled": 1},
    ]
    assert storages.status(rows, SHOWN).splitlines() == [
        "Name  Type   Status Total (KiB) Used (KiB) Available (KiB)      %",
        "local dir    active           4          1               3 25.00%",
        "zz    nfs  inactive           0          0               0    N/A",
    ]


def test_json_is_sorted_and_in_one_line() -> None:
    assert encode({"b": 1, "a": "ü"}, "json") == '{"a":"ü","b":1}\n'
    assert json.loads(encode([{"b": None}], "json-pretty")) == [{"b": None}]


def test_yaml_quotes_what_could_be_read_as_something_else() -> None:
    value = {
        "list": [{"k": "no", "l": [1]}, []],
        "text": "plain text",
        "odd": "a: b",
        "none": None,
        "num": "1",
    }
    assert encode(value, "yaml") == (
        '---\nlist:\n  - k: "no"\n    l:\n      - 1\n  - []\n'
        'none: null\nnum: "1"\nodd: "a: b"\ntext: plain text\n'
    )


def test_a_history_is_a_line_for_each_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    rows = [
        {"revision": 12, "until": 1_000_000_000, "size": 4, "node": "n1", "who": "root@pam", "version": 9},
        {"revision": 7, "until": 999_999_000, "size": None, "node": "", "who": "", "version": 3},
    ]
    assert history.rows(rows, SHOWN) == (
        "REVISION UNTIL                   SIZE NODE CHANGED BY\n"
        "      12 2001-09-09 01:46:40        4 n1   root@pam\n"
        "       7 2001-09-09 01:30:00        - -    -\n"
    )
    assert history.rows([], SHOWN) == ""
    assert history.content({"content": "a: b\n"}, SHOWN) == "a: b\n"
    assert history.diff({"diff": "", "digest": "x"}, SHOWN) == ""
    monkeypatch.undo()
    time.tzset()


def test_links_and_clocks_are_two_tables_and_what_is_to_be_warned_of() -> None:
    value = {
        "links": [
            {"node": "n1", "to": "n2", "link": 0, "address": "10.0.0.1", "to_address": "10.0.0.2",
             "connected": True, "latency_us": 312, "loss_percent": 1.5, "downs": 0},
            {"node": "n2", "to": "n1", "link": 0, "address": "10.0.0.2", "to_address": "10.0.0.1",
             "connected": False, "latency_us": 0, "loss_percent": None, "downs": 2},
        ],
        "clocks": [{"node": "n1", "to": "n2", "ahead_ms": -3.25, "unsure_ms": 0.4, "asked": 1}],
        "warnings": [{"kind": "link-down", "nodes": ["n1", "n2"], "link": 0, "sentence": "Link 0 is down."}],
        "silent": ["n3"],
    }  # fmt: skip
    assert links.status(value, SHOWN) == (
        "Node  To  Link  Address   To address  State      Latency  Loss   Downs\n"
        "n1    n2  0     10.0.0.1  10.0.0.2    connected  0.31 ms  1.5 %  0\n"
        "n2    n1  0     10.0.0.2  10.0.0.1    down       -        -      2\n"
        "\n"
        "Node  To  Clock ahead  Unsure\n"
        "n1    n2  -3.2 ms      0.4 ms\n"
        "\n"
        "Link 0 is down.\nn3 has not told of its links and clocks yet.\n"
    )
    assert links.status({}, SHOWN).startswith("This node is in no cluster")


def test_qm_guest_shows_the_agents_answer_alone() -> None:
    assert guests.agent({"result": {}}, Presentation()) == ""
    assert (
        guests.agent({"result": [{"online": 1}]}, Presentation()) == '[\n   {\n      "online" : 1\n   }\n]\n'
    )
    assert '"exitcode" : 0' in guests.agent({"exitcode": 0, "exited": 1}, Presentation())
