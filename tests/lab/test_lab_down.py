"""``down`` leaves nothing behind, however the lab ended."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from kvorum.lab import LabError
from kvorum.lab.plan import Plan


def traces(directory):
    """What of a lab under ``directory`` the host has: processes, mounts, groups, loop devices."""
    mark = str(directory)
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(mark in word for word in process.info["cmdline"] or ()):
            found.append(("process", process.info["pid"]))
    found += [
        ("mount", line) for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line
    ]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if mark in backing.read_text():
            found.append(("loop", backing))
    return found


def host_links():
    """Names on the host that only a lab could have made; other programs' come and go."""
    names = {p.name for p in Path("/sys/class/net").iterdir()}
    named = {p.name for p in Path("/run/netns").iterdir()} if Path("/run/netns").exists() else set()
    return {name for name in names | named if re.fullmatch(r"sw\d|[np]\d+(-\d)?", name)}


@pytest.fixture
def clean(tmp_path):
    yield
    assert traces(tmp_path) == []
    assert host_links() == set()
    lab_folder = tmp_path / "lab"
    assert not lab_folder.exists() or not list(lab_folder.iterdir())


def group(lab):
    return lab._cgroup().path


def test_an_orderly_down_leaves_nothing(clean, make_lab, tmp_path):
    lab = make_lab(Plan(2, 1, lossy=True))
    assert traces(tmp_path)
    left = group(lab)
    assert lab.down()
    assert not left.exists()
    assert not lab.down()


def test_down_after_every_process_was_killed_leaves_nothing(clean, make_lab):
    lab = make_lab(Plan(2, lossy=True))
    init = json.loads(lab.places.record.read_text())["init"]
    os.kill(init, signal.SIGKILL)
    assert lab.down()
    assert not group(lab).exists()


def test_down_with_a_frozen_and_a_cut_machine_leaves_nothing(clean, make_lab):
    lab = make_lab(Plan(2, 1))
    lab.freeze("n1")
    lab.cut("n2")
    lab.down()


def test_an_up_that_fails_half_way_leaves_nothing(lab_host, tmp_path):
    from kvorum.lab import Lab

    empty = tmp_path / "root"
    (empty / "etc").mkdir(parents=True)
    (empty / "etc/shadow").write_text("root:*:1::::::\n")
    lab = Lab(tmp_path / "lab")
    with pytest.raises(LabError, match="did not come up"):
        lab.up(Plan(2), {"node": empty}, page_port=None)
    assert traces(tmp_path / "lab") == []
    assert not list((tmp_path / "lab").iterdir())


def test_a_second_up_says_so(clean, make_lab):
    make_lab(Plan(0, 1))
    with pytest.raises(LabError, match="already up"):
        make_lab(Plan(0, 1))


def test_the_first_nodes_page_is_on_the_host(clean, make_lab):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = make_lab(Plan(1), page_port=port)
    lab.exec("n1", ["systemctl", "stop", "pveproxy"])
    answer = """
import socket
server = socket.create_server(('', 8006))
print('up', flush=True)
server.accept()[0].sendall(b'page')
"""
    serving = lab.popen("n1", ["python3", "-c", answer], stdout=-1)
    assert serving.stdout.readline() == b"up\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as page:
        assert page.recv(4) == b"page"
    serving.wait(10)
    serving.stdout.close()


def test_a_reboot_from_inside_comes_back(clean, make_lab):
    """Entered all the while: each command ends with its own answer, or with a sentence that says why not."""
    lab = make_lab(Plan(1))
    lab.exec("n1", ["touch", "/run/before"], check=True)
    lab.exec("n1", ["systemctl", "reboot"], check=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:  # the machine's end and its boot have no event outside the lab
        try:
            if lab.exec("n1", ["test", "-e", "/run/before"], timeout_s=30).returncode == 1:
                return
        except LabError as error:
            assert re.search("went down|is booting|is off", str(error))
    pytest.fail("n1 did not come back from its reboot within 60 s")


def test_the_lossy_disk_keeps_what_was_synced_and_forgets_the_rest(clean, make_lab):
    lab = make_lab(Plan(1, lossy=True))
    script = """
import os, sqlite3
os.chdir('/var/lib/pve-cluster')
base = sqlite3.connect('probe.db')
assert base.execute('pragma journal_mode=wal').fetchone() == ('wal',)
base.execute('pragma synchronous=full')
base.execute('create table t(x)')
for i in range(20):
    base.execute('insert into t values (?)', (i,))
    base.commit()
base.execute('pragma synchronous=off')
base.execute('insert into t values (99)')
base.commit()
other = sqlite3.connect('probe.db')
print(other.execute('select count(*) from t').fetchone()[0], flush=True)
open('unsynced', 'w').write('x')
os._exit(0)
"""
    assert lab.exec("n1", ["python3", "-c", script], check=True).stdout == "21\n"
    count = """
import sqlite3
base = sqlite3.connect('/var/lib/pve-cluster/probe.db')
print(base.execute('select count(*) from t').fetchone()[0])
"""
    lab.cut("n1")
    lab.power("n1")
    assert lab.exec("n1", ["python3", "-c", count]).stdout == "20\n"
    assert lab.exec("n1", ["test", "-e", "/var/lib/pve-cluster/unsynced"]).returncode == 1
