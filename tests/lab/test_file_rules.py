"""What /etc/pve allows whom, under real programs: without quorum, at its limits, and the ways admins work."""

from __future__ import annotations

import errno
import grp
import json
import os
import sys
from pathlib import Path

import pytest
import store_face
from store_face import Face

from kvorum.store import Delete, MakeDirectory, Write, tree

pytestmark = pytest.mark.skipif(bool(store_face.unavailable()), reason=store_face.unavailable() or "-")


# Without quorum nothing changes


CHANGES = {
    "open for writing": "os.open('f', os.O_WRONLY)",
    "open for reading and writing": "os.open('f', os.O_RDWR)",
    "open with O_TRUNC": "os.open('f', os.O_WRONLY | os.O_TRUNC)",
    "open for appending": "os.open('f', os.O_WRONLY | os.O_APPEND)",
    "create": "os.open('new', os.O_WRONLY | os.O_CREAT, 0o640)",
    "create exclusively": "os.open('new', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)",
    "write on an open handle": "os.write(held, b'x')",
    "truncate on an open handle": "os.ftruncate(held, 0)",
    "set times on an open handle": "os.utime(held, (1, 1))",
    "set the mode on an open handle": "os.fchmod(held, 0o640)",
    "set the owner on an open handle": "os.fchown(held, 0, group)",
    "truncate": "os.truncate('f', 1)",
    "set the time of change": "os.utime('f', ns=(1, 1))",
    "set times to now": "os.utime('f')",
    "set the times of a directory": "os.utime('nodes')",
    "renew a lock": "os.utime('priv/lock/held')",
    "ask to break a lock": "os.utime('priv/lock/held', (0, 0))",
    "chmod": "os.chmod('f', 0o600)",
    "chmod to what it is": "os.chmod('f', 0o640)",
    "chmod of a directory": "os.chmod('nodes', 0o700)",
    "chown": "os.chown('f', 1, 1)",
    "chown to whom it belongs": "os.chown('f', 0, group)",
    "link": "os.link('f', 'new')",
    "symlink": "os.symlink('f', 'new')",
    "mknod": "os.mknod('new', 0o640 | stat.S_IFREG)",
    "mkfifo": "os.mkfifo('new')",
    "mkdir": "os.mkdir('new')",
    "take a lock": "os.mkdir('priv/lock/new')",
    "rmdir": "os.rmdir('empty')",
    "release a lock": "os.rmdir('priv/lock/held')",
    "unlink": "os.unlink('f')",
    "rename": "os.rename('f', 'new')",
    "rename over another": "os.rename('f', 'g')",
    "rename a directory": "os.rename('empty', 'new')",
    "rename a guest's configuration": "os.rename('qemu-server/100.conf', 'nodes/n2/qemu-server/100.conf')",
}

ALL_TRIED = """
import errno, json, os, stat, sys
group, changes = int(sys.argv[1]), json.loads(sys.argv[2])
held = os.open("f", os.O_RDWR)
print("holding", flush=True)
sys.stdin.readline()
said = {}
for name, change in changes.items():
    try:
        exec(change)
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
print(json.dumps(said), flush=True)
sys.stdin.readline()
"""


async def test_every_changing_call_answers_erofs_without_quorum_and_works_with_it_again(face: Face) -> None:
    await face.sh(
        "echo f > f; echo g > g; mkdir empty priv/lock/held nodes/n2 nodes/n2/qemu-server; "
        "echo name: a > qemu-server/100.conf",
        check=True,
    )
    group = str(grp.getgrnam("www-data").gr_gid)
    async with face.running([sys.executable, "-c", ALL_TRIED, group, json.dumps(CHANGES)]) as process:
        assert await process.line() == "holding"
        before = face.host.root
        face.lose_quorum()
        process.tell("go")
        assert json.loads(await process.line()) == dict.fromkeys(CHANGES, "EROFS")
        done = await face.sh("stat -c %a f nodes priv priv/lock local; cat f; ls qemu-server/")
        assert done.stdout == "440\n555\n500\n500\n555\nf\n100.conf\n", "reads go on; no write bits"
        assert face.host.root == before
        await face.regain_quorum()
        process.tell("end")
    await face.sh("echo x > f; stat -c %a f nodes priv", check=True)


async def test_what_was_written_before_the_loss_is_refused_at_close_and_lost_loudly(face: Face) -> None:
    await face.sh("echo old > f", check=True)
    script = (
        "import os, sys\nf = os.open('f', os.O_WRONLY)\nos.write(f, b'new')\nprint('holding', flush=True)\n"
        "sys.stdin.readline()\n"
        "for call in (os.fsync, os.close):\n"
        "    try:\n        call(f)\n        print('done', flush=True)\n"
        "    except OSError as error:\n        print(error.strerror, flush=True)\n"
    )
    async with face.running([sys.executable, "-c", script]) as process:
        assert await process.line() == "holding"
        face.lose_quorum()
        process.tell("go")
        assert await process.line() == "Read-only file system"
        assert await process.line() == "Read-only file system"
    assert (await face.sh("cat f", check=True)).stdout == "old\n"
    await face.regain_quorum()
    assert (await face.sh("cat f", check=True)).stdout == "old\n"


# Limits


async def test_a_file_holds_a_mebibyte_and_not_a_byte_more(face: Face) -> None:
    await face.sh(f"head -c {tree.MAX_FILE_BYTES} /dev/zero > f", check=True)
    for script in (
        f"head -c {tree.MAX_FILE_BYTES + 1} /dev/zero > g",
        "echo x >> f",
        f"truncate -s {tree.MAX_FILE_BYTES + 1} g",
        f"truncate -s {tree.MAX_FILE_BYTES + 1} f",
    ):
        assert "File too large" in (await face.sh(script)).stderr, script
    file = face.client.read("f")
    assert file is not None and len(file.data) == tree.MAX_FILE_BYTES, "what was there is whole"


async def test_a_full_store_takes_nothing_new_and_lets_what_is_there_shrink(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    await face.client.write("f", bytes(1000))
    full = face.host.tree.total_bytes
    for module in ("tree", "refusals", "view"):
        monkeypatch.setattr(f"kvorum.store.{module}.MAX_TOTAL_BYTES", full)
    for script in ("echo x > new", "echo x >> f", "truncate -s 1001 f"):
        assert "No space left on device" in (await face.sh(script)).stderr, script
    done = await face.sh(
        "head -c 1000 /dev/urandom > f; stat -c %s f; df --output=iavail . >/dev/null", check=True
    )
    assert done.stdout == "1000\n", "replacing by as much is no growth"
    await face.sh("echo less > f; echo x > now-there-is-room", check=True)


async def test_a_full_store_takes_no_further_entry(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await face.client.write("f", b"x")
    for module in ("tree", "refusals", "view"):
        monkeypatch.setattr(f"kvorum.store.{module}.MAX_ENTRIES", face.host.tree.entries)
    for script in ("echo x > new", "mkdir new", "touch new"):
        assert "No space left on device" in (await face.sh(script)).stderr, script
    await face.sh("echo y > f; mv f g; rm g; mkdir d", check=True)


# One id in the whole cluster


@pytest.mark.parametrize(
    ("script", "goes"),
    [
        ("echo x > nodes/n2/qemu-server/100.conf", False),
        ("echo x > nodes/n2/lxc/100.conf", False),
        ("echo x > lxc/100.conf", False),
        ("echo x > spare; mv spare nodes/n2/lxc/100.conf", False),
        ("echo x > qemu-server/101.conf; mv qemu-server/101.conf qemu-server/100.conf", True),
        ("cd nodes/n2/qemu-server; echo x > 101.conf; mv 101.conf 100.conf", False),
        ("cp qemu-server/100.conf nodes/n2/qemu-server/", False),
        ("mv qemu-server/100.conf nodes/n2/qemu-server/", True),
        ("mv qemu-server/100.conf lxc/", True),
        ("cp qemu-server/100.conf nodes/n2/qemu-server/100.conf.bak", True),
        ("echo y > qemu-server/100.conf", True),
        ("rm qemu-server/100.conf; echo x > nodes/n2/lxc/100.conf", True),
    ],
)  # fmt: skip
async def test_a_guests_id_exists_once_in_the_cluster(face: Face, script: str, goes: bool) -> None:
    await face.sh(
        "mkdir -p nodes/n2/qemu-server nodes/n2/lxc; echo name: a > qemu-server/100.conf", check=True
    )
    done = await face.sh(script)
    assert ("File exists" not in done.stderr) is goes, done
    assert len([path for path in face.host.tree.guests().values() if "/100.conf" in path]) == 1


async def test_two_editors_that_make_the_same_guest_end_with_one(face: Face) -> None:
    """Both have created the file before either has committed it: the second is refused when it writes."""
    await face.sh("mkdir -p nodes/n2/qemu-server", check=True)
    done = await face.sh(
        "exec 3>qemu-server/100.conf 4>nodes/n2/qemu-server/100.conf; echo 1 >&3; echo 2 >&4; echo $?"
    )
    assert "File exists" in done.stderr and done.stdout == "1\n", done
    assert face.host.tree.guests() == {"100": "nodes/n1/qemu-server/100.conf"}


# The ways admins work


async def test_guests_are_moved_out_and_in_again_by_plain_mv(face: Face, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    await face.sh("for id in 100 101 102; do echo name: g$id > qemu-server/$id.conf; done", check=True)
    await face.sh(f"mv nodes/n1/qemu-server/* {home}/", check=True)
    assert face.host.tree.guests() == {}
    assert sorted(path.name for path in home.iterdir()) == ["100.conf", "101.conf", "102.conf"]
    async with face.watched() as seen:
        await face.sh(f"mv {home}/* /{face.place}/nodes/n1/qemu-server/", check=True)
    assert sorted(face.host.tree.guests()) == ["100", "101", "102"]
    assert [content for _, content in seen if content] == ["name: g100\n", "name: g101\n", "name: g102\n"]
    assert not list(home.iterdir())


async def test_a_used_id_is_not_moved_in_and_stays_where_it_was(face: Face, tmp_path: Path) -> None:
    (tmp_path / "100.conf").write_text("name: other\n")
    await face.sh("mkdir -p nodes/n2/qemu-server; echo name: a > nodes/n2/qemu-server/100.conf", check=True)
    done = await face.sh(f"mv {tmp_path}/100.conf qemu-server/")
    assert "File exists" in done.stderr and done.returncode == 1
    assert (tmp_path / "100.conf").read_text() == "name: other\n"


async def test_files_move_between_directories_with_their_time(face: Face) -> None:
    await face.sh("mkdir a b; echo x > a/f; touch -d @1000000000 a/f", check=True)
    async with face.watched() as seen:
        await face.sh("mv a/f b/g", check=True)
    assert sorted(seen, key=str) == [("a/f", None), ("b/g", "x\n")]
    assert (await face.sh("stat -c %Y b/g; cat b/g; ls a", check=True)).stdout == "1000000000\nx\n"
    assert "Directory not empty" in (await face.sh("mv b a/")).stderr
    await face.sh("mkdir c; mv c a/; rmdir a/c a", check=True)


async def test_tar_takes_everything_out_and_brings_it_back(face: Face, tmp_path: Path) -> None:
    await face.sh("echo s > storage.cfg; echo k > priv/key; echo name: a > qemu-server/100.conf", check=True)
    before = {file.path: (file.data, file.mtime) for file in face.host.tree.files()}
    archive = tmp_path / "pve.tar"
    await face.sh(
        f"tar cf {archive} *.cfg nodes priv; rm -r storage.cfg nodes/n1/qemu-server priv/key", check=True
    )
    await face.sh(f"tar xf {archive}", check=True)
    after = {file.path: (file.data, int(file.mtime)) for file in face.host.tree.files()}
    assert after == {path: (data, int(mtime)) for path, (data, mtime) in before.items()}


# Who sees what


async def test_who_is_not_root_sees_everything_but_priv_and_changes_nothing(face: Face) -> None:
    await face.sh(
        "mkdir -p nodes/n2/priv; echo p > f; "
        "for d in priv nodes/n1/priv nodes/n2/priv; do echo s > $d/f; done",
        check=True,
    )
    www = "setpriv --reuid=33 --regid=33 --clear-groups"
    await face.sh(f"{www} cat f .members .vmlist .version .clusterlog .rrd >/dev/null", check=True)
    for path in ("priv/f", "nodes/n1/priv/f", "nodes/n2/priv/f"):
        assert "Permission denied" in (await face.sh(f"{www} cat {path}")).stderr
    for change in ("ls priv", "touch f", "rm f", "mkdir d", "mv f g", "bash -c 'echo x > f'"):
        assert "Permission denied" in (await face.sh(f"{www} {change}")).stderr, change
    other = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    assert "Permission denied" in (await face.sh(f"{other} cat f")).stderr
    shown = await face.sh(
        "stat -c '%a %U:%G' f priv priv/f nodes/n1/priv nodes .members .debug local", check=True
    )
    assert shown.stdout.split("\n")[:-1] == [
        "640 root:www-data", "700 root:www-data", "600 root:www-data", "700 root:www-data",
        "755 root:www-data", "440 root:www-data", "640 root:www-data", "777 root:www-data",
    ]  # fmt: skip


# What is made when it is read, and locks


async def test_virtual_files_and_links_can_neither_be_changed_nor_replaced(face: Face) -> None:
    await face.sh("echo x > f", check=True)
    before = face.host.root
    for change in (
        "echo x > .members", "truncate -s 0 .members", "rm .vmlist", "mv f .version", "mv .version f",
        "rm local", "mv f -T local", "mv -T local g", "mkdir .rrd", "rmdir qemu-server",
        f"{sys.executable} -c \"import os; os.truncate('.clusterlog', 0)\"", "echo 2 > .debug",
    ):  # fmt: skip
        assert (await face.sh(change)).returncode != 0, change
    assert face.host.root == before
    assert (await face.sh("readlink local qemu-server lxc", check=True)).stdout.split() == [
        "nodes/n1", "nodes/n1/qemu-server", "nodes/n1/lxc",
    ]  # fmt: skip
    await face.sh("echo 1 > .debug; grep -qx 1 .debug; echo 0 > .debug; grep -qx 0 .debug", check=True)


async def test_virtual_files_show_what_is_so_now(face: Face) -> None:
    await face.sh("echo name: a > qemu-server/100.conf; echo s > storage.cfg", check=True)
    guests = json.loads((await face.sh("cat .vmlist", check=True)).stdout)
    assert {vmid: (guest["node"], guest["type"]) for vmid, guest in guests["ids"].items()} == {
        "100": ("n1", "qemu")
    }
    before = json.loads((await face.sh("cat .version", check=True)).stdout)
    await face.sh("echo t > storage.cfg; mv qemu-server/100.conf lxc/", check=True)
    after = json.loads((await face.sh("cat .version", check=True)).stdout)
    assert {key for key in after if before[key] != after[key]} == {"storage.cfg", "vmlist"}
    guests = json.loads((await face.sh("cat .vmlist", check=True)).stdout)
    assert guests["ids"]["100"]["type"] == "lxc"
    members = json.loads((await face.sh("cat .members", check=True)).stdout)
    assert members == {"nodename": "n1", "version": 1}


async def test_a_lock_is_taken_once_and_broken_only_when_it_was_not_renewed(face: Face) -> None:
    await face.sh("mkdir priv/lock/file-user_cfg; touch priv/lock/file-user_cfg", check=True)
    assert "File exists" in (await face.sh("mkdir priv/lock/file-user_cfg")).stderr
    assert "Permission denied" in (await face.sh("touch -d @0 priv/lock/file-user_cfg")).stderr
    assert "Permission denied" in (await face.sh("mv priv/lock/file-user_cfg priv/lock/other")).stderr
    loop, real = face.host._loop, face.host._loop.time
    loop.time = lambda: real() + 121  # type: ignore[method-assign]  # as if nobody renewed it for so long
    try:
        await face.sh("touch -d @0 priv/lock/file-user_cfg; mkdir priv/lock/file-user_cfg", check=True)
        assert "Permission denied" in (await face.sh("touch -d @0 priv/lock/file-user_cfg")).stderr
    finally:
        loop.time = real  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("chmod 600 f", errno.EPERM),
        ("chown www-data f", errno.EPERM),
        ("chgrp root f", errno.EPERM),
        ("ln f g", errno.EPERM),
        ("ln -s f g", errno.EPERM),
        ("mkfifo g", errno.EPERM),
        ("mkdir -p d/e; mv -T d x", errno.ENOTEMPTY),
        ("mkdir -p d/e; rmdir d", errno.ENOTEMPTY),
        ("mkdir d; rm d", errno.EISDIR),
        ("rmdir f", errno.ENOTDIR),
        ("mkdir d; mv -T f d", errno.EISDIR),
        ("echo x > nowhere/f", errno.ENOENT),
        ("echo x > $'\\xff'", errno.EINVAL),
        ("echo x > " + "n" * 256, errno.ENAMETOOLONG),
    ],
)
async def test_what_is_not_allowed_says_so_and_changes_nothing_else(
    face: Face, script: str, error: int
) -> None:
    await face.sh("echo x > f", check=True)
    done = await face.sh(script)
    what = {errno.EISDIR: "directory", errno.ENOTDIR: "ot a directory"}.get(error, os.strerror(error))
    assert what in done.stderr, done
    file = face.client.read("f")
    assert file is not None and file.text == "x\n"


async def test_a_change_from_elsewhere_is_seen_at_once_though_the_kernel_caches(face: Face) -> None:
    for number in range(20):
        await face.client.transact([Write("f", f"{number}\n".encode()), Write(f"d/{number}", b"")])
        done = await face.sh(
            f"cat f; stat -c %s f; ls d | wc -l; test ! -e e{number}; ls d >/dev/null", check=True
        )
        assert done.stdout.split() == [str(number), str(len(f"{number}\n")), str(number + 1)]
        await face.client.transact([MakeDirectory(f"e{number}")])
        await face.sh(f"test -d e{number}", check=True)
        await face.client.transact([Delete(f"e{number}")])
        await face.sh(f"test ! -e e{number}", check=True)
