"""How many versions of a file others see when a program writes it: design.md, "A file is replaced whole"."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import store_face
from store_face import Face

from kvorum.store import Delete, Operation, Rename, Write

pytestmark = pytest.mark.skipif(bool(store_face.unavailable()), reason=store_face.unavailable() or "-")

OLD = "old\n"


def python(*lines: str) -> str:
    script = "\n".join(("import mmap, os", *lines))
    return f"{sys.executable} -c {shlex.quote(script)}"


REPLACED: dict[str, tuple[str, list[str | None]]] = {
    "echo": ("echo x > f", ["x\n"]),
    "echo, a new file": ("rm f; echo x > f", [None, "x\n"]),
    "two echos in one redirection": ("{ echo a; echo b; } > f", ["a\nb\n"]),
    "two programs in one redirection": ("{ /bin/echo a; /bin/echo b; } > f", ["a\n", "a\nb\n"]),
    "a pipe": ("seq 3 | tee f >/dev/null", ["1\n2\n3\n"]),
    "emptied": (": > f", [""]),
    "emptied, a new file": ("rm f; : > f", [None, ""]),
    "truncate, the program": ("truncate -s 2 f", ["ol"]),
    "truncate, the system call": (python("os.truncate('f', 2)"), ["ol"]),
    "truncate, longer": ("truncate -s 6 f", ["old\n\0\0"]),
    "truncate, a new file": ("rm f; truncate -s 1 f", [None, "\0"]),
    "touch": ("touch f", [OLD]),
    "touch, a new file": ("rm f; touch f", [None, ""]),
    "touch with a time": ("touch -d @1000000000 f", [OLD]),
    "touch with a time, a new file": ("rm f; touch -d @1000000000 f", [None, ""]),
    "append": ("echo x >> f", [OLD + "x\n"]),
    "append, a new file": ("rm f; echo x >> f", [None, "x\n"]),
    "append, twice open": ("exec 3>>f; echo x >&3; echo y >> f; echo z >&3; exec 3>&-",
                           [OLD + "x\n", OLD + "x\ny\n", OLD + "x\ny\nz\n"]),
    "a descriptor kept open": ("exec 3>f; echo a >&3; echo b >&3; exec 3>&-", ["a\n", "a\nb\n"]),
    "a mapping": (python("f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:3] = b'new'; m.flush()"),
                  ["new\n"]),
    "a mapping, flushed twice": (
        python("f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 0)",
               "m[0:3] = b'new'; m.flush(); m[0:3] = b'two'; m.flush()"), ["new\n", "two\n"]),
    "a mapping that outlives its descriptor": (
        python("f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close(); m[0:3] = b'new'; m.close()"),
        ["new\n"]),
    "cp": ("cp /etc/passwd f", ["PASSWD"]),
    "cp, a new file": ("rm f; cp /etc/passwd f", [None, "PASSWD"]),
    "cp of 400 KB": ("head -c 400000 /dev/zero > \"$TMP/big\"; cp \"$TMP/big\" f", ["\0" * 400_000]),
    "sed -i": ("sed -i s/old/new/ f", ["new\n"]),
    "a rename over it": ("echo new > g; mv g f", ["new\n"]),
    "moved away": ("mv f g", [None]),
    "dd without truncation": ("printf new | dd of=f conv=notrunc status=none", ["new\n"]),
    "fsync between two writes": (
        python("f = os.open('f', os.O_RDWR); os.write(f, b'a'); os.fsync(f); os.write(f, b'b')"),
        ["ald\n", "abd\n"]),
    "fsync of what is only truncated": (
        python("f = os.open('f', os.O_RDWR | os.O_TRUNC); os.fsync(f); os.write(f, b'b')"), ["", "b"]),
    "a dup closed before the first write": (
        python("f = os.open('f', os.O_RDWR | os.O_TRUNC); os.close(os.dup(f)); os.write(f, b'b')"), ["b"]),
    "truncated through the handle, then written": (
        python("f = os.open('f', os.O_RDWR); os.ftruncate(f, 1); os.pwrite(f, b'k', 1)"), ["ok"]),
    "read only": ("cat f >/dev/null; exec 3<>f; read <&3; exec 3>&-", []),
    "opened for writing and left": ("exec 3<>f; exec 3>&-", []),
    "removed while it is open": (
        python("f = os.open('f', os.O_RDWR); os.write(f, b'a'); os.unlink('f'); os.fsync(f)"), [None]),
    "a temporary file that never had content": (
        python("f = os.open('t', os.O_RDWR | os.O_CREAT); os.unlink('t'); os.write(f, b'a')",
               "assert os.pread(f, 9, 0) == b'a'"), []),
}  # fmt: skip
"""What is done to ``f``, which holds OLD, and every version of it that others see; None: it is not there."""


@pytest.mark.parametrize("name", REPLACED)
async def test_others_see_exactly_these_versions(face: Face, tmp_path: Path, name: str) -> None:
    script, versions = REPLACED[name]
    await face.sh("echo old > f", check=True)
    async with face.watched() as seen:
        await face.sh(f"TMP={shlex.quote(str(tmp_path))}\n{script}", check=True)
    passwd = Path("/etc/passwd").read_text()
    assert [content for path, content in seen if path == "f"] == [
        passwd if version == "PASSWD" else version for version in versions
    ]
    assert [path for path in face.client.names("") if path not in ("f", "g", "ready", store_face.END)] == [
        "nodes",
        "priv",
    ], "nothing is left beside it"


async def test_a_new_file_with_a_time_of_its_own_is_one_version(face: Face) -> None:
    async with face.watched() as seen:
        await face.sh("touch -d @1000000000 f; stat -c %Y f", check=True)
    assert seen == [("f", "")]
    file = face.client.read("f")
    assert file is not None and file.mtime == 1_000_000_000


async def test_the_history_tells_which_program_it_was(face: Face) -> None:
    await face.sh("cp /etc/hostname f; rm f", check=True)
    revisions = await face.client.history("f")
    assert [revision.who.split(" pid ")[0] for revision in revisions] == ["uid 0", "uid 0"]
    assert [revision.who.rpartition(" ")[2] for revision in revisions] == ["rm", "cp"]


async def test_whoever_has_a_file_open_reads_it_whole_when_another_takes_its_place(face: Face) -> None:
    await face.sh("head -c 400000 /dev/zero > f; echo new > g", check=True)
    done = await face.sh("exec 3<f; head -c 1000 <&3 | wc -c; mv g f; cat <&3 | wc -c; cat f", check=True)
    assert done.stdout == "1000\n399000\nnew\n"
    done = await face.sh("exec 3<f; rm f; cat <&3; stat -L -c '%s %h' /dev/fd/3", check=True)
    assert done.stdout == "new\n4 0\n"


READER = """
import os, sys
f = os.open("f", os.O_RDONLY)
print(len(os.read(f, 1000)), flush=True)
sys.stdin.readline()
rest = b""
while part := os.read(f, 65536):
    rest += part
print(len(rest), set(rest) == {0}, os.fstat(f).st_size, open("f").read(), flush=True)
"""


@pytest.mark.parametrize(
    "operations",
    [[Rename("g", "f")], [Write("f", b"new\n")], [Delete("f"), Rename("g", "f")]],
    ids=["renamed over", "written", "removed and made anew"],
)
async def test_whoever_has_a_file_open_reads_it_whole_when_another_node_replaces_it(
    face: Face, operations: list[Operation]
) -> None:
    """A change through the store's socket comes to the file system as one of another node does."""
    await face.client.transact([Write("f", bytes(400_000)), Write("g", b"new\n")])
    async with face.running([sys.executable, "-c", READER]) as process:
        assert await process.line() == "1000"
        await face.client.transact(operations)
        process.tell("go")
        assert await process.line() == "399000 True 400000 new"


async def test_whoever_has_a_file_open_for_writing_sees_what_another_node_makes_of_it(face: Face) -> None:
    await face.client.write("f", b"old\n")
    script = (
        "import os, sys\nf = os.open('f', os.O_RDWR)\nprint(os.read(f, 9), flush=True)\n"
        "sys.stdin.readline()\nprint(os.pread(f, 9, 0), flush=True)\n"
        "os.pwrite(f, b'N', 0)\nos.close(f)\nprint('closed', flush=True)\n"
    )
    async with face.running([sys.executable, "-c", script]) as process:
        assert await process.line() == r"b'old\n'"
        await face.client.write("f", b"new\n")
        await face.sh("cat f", check=True)  # the kernel has taken the notification by now, or asks anyway
        process.tell("go")
        assert await process.line() == r"b'new\n'"
        assert await process.line() == "closed"
    file = face.client.read("f")
    assert file is not None and file.text == "New\n"


# Editors at a terminal


EDITED = "edited\n"


def at_terminal(argv: list[str], place: Path, home: Path, steps: list[tuple[bytes, bytes]]) -> bytes:
    """Run a program at a terminal: wait for each text on the screen, then type; returns all it showed."""
    program, terminal = pty.openpty()
    shell = f"stty rows 24 cols 80; cd {shlex.quote(str(place))} && exec {shlex.join(argv)}"
    process = subprocess.Popen(
        ["bash", "-c", shell],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "LC_ALL": "C"},
    )
    os.close(terminal)
    shown = b""
    until = time.monotonic() + store_face.DEADLINE_S
    try:
        for awaited, typed in [*steps, (b"", b"")]:
            since = len(shown)
            while not awaited or awaited not in shown[since:]:
                ready, _, _ = select.select([program], [], [], max(0.0, until - time.monotonic()))
                assert ready, f"{argv[0]} did not show {awaited!r}:\n{shown.decode(errors='replace')}"
                try:
                    shown += os.read(program, 65536)
                except OSError:  # the terminal's other end is closed: the program has ended
                    break
            if typed:
                os.write(program, typed)
        assert process.wait(max(0.1, until - time.monotonic())) == 0, shown
        return shown
    finally:
        process.kill()
        process.wait()
        os.close(program)


def _editor(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


VIM, NANO = _editor("vim", "vim.tiny"), _editor("nano")


@pytest.mark.skipif(VIM is None, reason="vim is not installed: packaging/host-packages names it")
async def test_vim_writes_the_file_once(face: Face, tmp_path: Path) -> None:
    assert VIM is not None
    await face.sh("echo old > f", check=True)
    async with face.watched() as seen:
        steps = [(b"old", b":s/old/edited/\r"), (b"edited", b":wq\r")]
        await asyncio.to_thread(at_terminal, [VIM, "f"], face.place, tmp_path, steps)
    assert [content for path, content in seen if path == "f"] == [EDITED]
    assert face.client.names("") == ("f", "nodes", "priv", "ready", store_face.END), "no swap, no backup"


@pytest.mark.skipif(NANO is None, reason="nano is not installed: packaging/host-packages names it")
async def test_nano_writes_the_file_once(face: Face, tmp_path: Path) -> None:
    assert NANO is not None
    await face.sh("echo old > f", check=True)
    async with face.watched() as seen:
        steps = [
            (b"old", b"\x0bedited"),
            (b"edited", b"\x0f"),
            (b"File Name to Write", b"\r"),
            (b"Wrote", b"\x18"),
        ]
        await asyncio.to_thread(at_terminal, [NANO, "f"], face.place, tmp_path, steps)
    assert [content for path, content in seen if path == "f"] == [EDITED]
    assert face.client.names("") == ("f", "nodes", "priv", "ready", store_face.END)


CALLS = {
    "vim": """
def put(name, data, flags):
    f = os.open(name, flags, 0o640)
    os.write(f, data); os.fsync(f); os.close(f)
new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
os.close(os.open("4913", new | os.O_NOFOLLOW, 0o640)); os.unlink("4913")
os.rename("f", "f~"); put("f", b"edited\\n", os.O_WRONLY | os.O_CREAT); os.unlink("f~")
""",
    "nano": """
f = os.open("f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
os.write(f, b"edi"); os.write(f, b"ted\\n"); os.fsync(f); os.close(f)
""",
}


@pytest.mark.parametrize(("editor", "versions"), [("vim", [None, EDITED]), ("nano", [EDITED])])
async def test_the_system_calls_of_editors(face: Face, editor: str, versions: list[str | None]) -> None:
    """Of vim (backupcopy=auto) and nano as they were traced, for machines without them."""
    await face.sh("echo old > f", check=True)
    async with face.watched() as seen:
        await face.sh(python(CALLS[editor]), check=True)
    assert [content for path, content in seen if path == "f"] == versions
    assert face.client.names("") == ("f", "nodes", "priv", "ready", store_face.END)
