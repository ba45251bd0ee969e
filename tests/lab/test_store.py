"""The store on the real thing: three daemons over real Corosync, and /etc/pve under real shells."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths
from kvorum.store import StoreClient
from kvorum.store.daemon import running_store
from kvorum.store.host import Host
from kvorum.store.protocol import Clock


def _fixture() -> ModuleType:
    name = "corosync_ring"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("corosync_ring.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


rings = _fixture()
needs_ring = pytest.mark.skipif(bool(rings.unavailable()), reason=rings.unavailable() or "-")
needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="mounting needs root and /dev/fuse"
)


async def until(host: Host, holds: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Wait for an event after which ``holds``."""
    changed = asyncio.Event()
    forget = host.listen(lambda _: changed.set())
    try:
        async with asyncio.timeout(timeout):
            while not holds():
                await changed.wait()
                changed.clear()
    except TimeoutError:
        raise AssertionError(f"{host.node}: {what} did not come; {host.status}") from None
    finally:
        forget()


@contextlib.asynccontextmanager
async def cluster(ring: object, tmp_path: Path, count: int) -> AsyncIterator[list[tuple[Host, Paths]]]:
    """A store on each of the ring's nodes, all writable together."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for number in range(1, count + 1):
            paths = Paths.under(tmp_path / f"n{number}")
            paths.corosync.mkdir(parents=True)
            (paths.corosync / "corosync.conf").write_text(ring.config())
            opened = running_store(
                paths, node=f"n{number}", fuse=False, corosync=True, inside=lambda n=number: ring.inside(n)
            )
            nodes.append((await stack.enter_async_context(opened), paths))
        for host, _ in nodes:
            await until(host, lambda h=host: h.status.writable and len(h.status.members) == count, "the view")
        yield nodes


@needs_ring
async def test_three_nodes_agree_lose_one_and_take_it_back(tmp_path: Path) -> None:
    with rings.corosync_ring(3) as ring:
        async with cluster(ring, tmp_path, 3) as nodes:
            hosts = [host for host, _ in nodes]
            async with (
                StoreClient(nodes[0][1].store_socket) as one,
                StoreClient(nodes[2][1].store_socket) as three,
            ):
                await one.write("storage.cfg", b"x" * 1_000_000)
                assert all(host.tree.read("storage.cfg") for host in hosts), "answered before all had it"
                assert [m.name for m in one.membership.members if m.online] == ["n1", "n2", "n3"]
                await three.publish("status", b"here")
                await until(hosts[0], lambda: ("n3", "status") in hosts[0].published(), "the value")

                ring.cut(3)
                await one.write("while-cut", b"1", who="test")  # waits for the outcome of the change
                await until(
                    hosts[2], lambda: not hosts[2].status.writable and bool(hosts[2].status.reason), "cut"
                )
                with pytest.raises(KvorumError):
                    await three.transact([], timeout=20)
                assert three.read("storage.cfg") is not None

                ring.heal(3)
                await until(hosts[2], lambda: hosts[2].status.writable, "the merge")
                await until(hosts[2], lambda: hosts[2].tree.read("while-cut") is not None, "the difference")
                await three.write("after", b"2")
                assert len({host.root for host in hosts}) == 1


@needs_ring
async def test_corosyncs_restart_is_survived(tmp_path: Path) -> None:
    with rings.corosync_ring(2) as ring:
        async with cluster(ring, tmp_path, 2) as nodes:
            host = nodes[1][0]
            ring.kill(2)
            await until(host, lambda: not host.status.members, "corosync's end")
            assert "corosync" in host.status.reason
            ring.start(2)
            await until(host, lambda: host.status.writable and len(host.status.members) == 2, "the way back")
            await host.transact((), (), "test", 20)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A standalone daemon with its file system."""
    ready = tmp_path / "ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(ready))
        notified.settimeout(30)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "kvorum.store.daemon", "--root", tmp_path, "--node", "n1"],
            env={**os.environ, "NOTIFY_SOCKET": str(ready)},
        )
        try:
            assert notified.recv(100) == b"READY=1"
            yield tmp_path / "pve"
        finally:
            daemon.terminate()
            assert daemon.wait(30) == 0
            assert str(tmp_path / "pve") not in Path("/proc/mounts").read_text()


def sh(place: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=30,
        env={**os.environ, "LC_ALL": "C"},
    )


@needs_fuse
@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("echo hello > f; cat f", "hello\n"),
        ("{ echo a; echo b; } > f; cat f", "a\nb\n"),
        ("echo x > f; : > f; stat -c %s f", "0\n"),
        ("echo x > f; echo y >> f; cat f", "x\ny\n"),
        ("echo x > f; sed -i s/x/z/ f; cat f; ls", "z\nf\nlocal\nlxc\nnodes\npriv\nqemu-server\n"),
        ("cp /etc/passwd f; cmp /etc/passwd f && mv f nodes/g && cmp nodes/g /etc/passwd && echo ok", "ok\n"),
        ("touch t; touch -d @1000000000 t; stat -c '%Y %s' t", "1000000000 0\n"),
        ("for i in $(seq 80); do touch t$i; touch -d @1000000000 t$i; stat -c %Y t$i; done | sort -u",
         "1000000000\n"),
        ("touch t; mv t u; ls u", "u\n"),
        ("echo 12345 > f; truncate -s 3 f; cat f", "123"),
        ("exec 3>f; echo one >&3; cat f; exec 3>&-", "one\n"),
        ("mkdir priv/lock/l && rmdir priv/lock/l && echo ok", "ok\n"),
        ("echo a > priv/f; echo b > f; stat -c '%a %U:%G' priv priv/f f nodes",
         "700 root:www-data\n600 root:www-data\n640 root:www-data\n755 root:www-data\n"),
        ("tar cf /tmp/$$.tar nodes; rm -r nodes/n1/lxc; tar xf /tmp/$$.tar; ls nodes/n1; rm /tmp/$$.tar",
         "lxc\npriv\nqemu-server\n"),
        ("echo 1 > .debug; cat .debug; echo 0 > .debug; cat .debug; stat -c %a .debug", "1\n0\n640\n"),
        ("cd priv/lock; mkdir l; touch l; { touch -d @0 l; mv l m; } 2>&1 "
         "| grep -o 'Permission denied'; ls; rmdir l; ls",
         "Permission denied\nPermission denied\nl\n"),
    ],
)  # fmt: skip
def test_shells_find_a_file_system(mount: Path, script: str, shown: str) -> None:
    done = sh(mount, script)
    assert done.stdout == shown
    assert not done.stderr or "tar:" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
@pytest.mark.parametrize("megabytes", [3, 16], ids=["no room for a journal", "a journal"])
async def test_a_full_disk_makes_the_node_read_only_until_there_is_room(
    tmp_path: Path, megabytes: int
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", small], check=True, timeout=10
    )
    try:
        paths = dataclasses.replace(Paths.under(tmp_path), database=small / "config.db")
        async with (
            running_store(paths, node="n1", fuse=False, corosync=False) as host,
            StoreClient(paths.store_socket) as client,
        ):
            await client.write("before", b"1")
            await host.settle()
            with contextlib.suppress(OSError), (small / "ballast").open("wb", buffering=0) as ballast:
                while ballast.write(bytes(4096)):
                    pass
            writing = asyncio.ensure_future(client.write("big", bytes(500_000)))
            await until(host, lambda: not host.status.writable, "the refusal")
            assert "its disk is full" in host.status.reason
            (small / "ballast").unlink()
            await until(host, lambda: host.status.writable, "the way back")
            with contextlib.suppress(KvorumError):
                await writing
            await client.write("after", b"2")
            assert host.tree.read("before") and host.tree.read("after")
    finally:
        subprocess.run(["umount", small], check=True, timeout=10)


@needs_ring
async def test_a_pause_of_one_store_makes_it_leave_and_rejoin_within_the_ring(tmp_path: Path) -> None:
    with rings.corosync_ring(3) as ring:
        async with cluster(ring, tmp_path, 3) as nodes:
            hosts = [host for host, _ in nodes]
            seen: list[frozenset[int]] = []
            forget = hosts[0].listen(lambda _: seen.append(hosts[0].status.members))
            hosts[2]._told_at -= 10
            hosts[2]._step(Clock(time.clock_gettime(time.CLOCK_BOOTTIME) + 5))
            assert "stood still" in hosts[2].status.reason
            await until(hosts[0], lambda: frozenset({1, 2}) in seen, "the leave")
            for host in hosts:
                await until(
                    host, lambda h=host: h.status.writable and len(h.status.members) == 3, "the way back"
                )
            forget()
            async with StoreClient(nodes[2][1].store_socket) as three:
                await three.write("after", b"1")
            assert len({host.root for host in hosts}) == 1


@needs_ring
@needs_fuse
def test_the_mounts_of_three_nodes_agree_and_turn_read_only(tmp_path: Path) -> None:
    """Each daemon is a process in its node's namespaces, where /etc/pve's stand-in is mounted."""
    with rings.corosync_ring(3) as ring, contextlib.ExitStack() as stack:

        def on(number: int, script: str) -> subprocess.CompletedProcess[str]:
            script = f"cd {tmp_path}/n{number}/pve && {script}"
            return subprocess.run(
                ring.argv(number, ["bash", "-c", script]), capture_output=True, text=True, timeout=60
            )

        for number in (1, 2, 3):
            root = tmp_path / f"n{number}"
            (root / "corosync").mkdir(parents=True)
            (root / "corosync" / "corosync.conf").write_text(ring.config())
            notified = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notified.bind(str(root / "ready"))
            notified.settimeout(30)
            argv = [sys.executable, "-m", "kvorum.store.daemon", "--root", root, "--node", f"n{number}"]
            daemon = subprocess.Popen(
                ring.argv(number, argv), env={**os.environ, "NOTIFY_SOCKET": str(root / "ready")}
            )
            stack.callback(daemon.wait, 30)
            stack.callback(daemon.terminate)
            assert notified.recv(100) == b"READY=1"

        async def members(number: int, names: list[str], quorate: bool) -> None:
            async with StoreClient(tmp_path / f"n{number}" / "run" / "store.sock") as client:
                async with asyncio.timeout(30):
                    async for now in client.watch_membership():
                        if [m.name for m in now.members if m.online] == names and now.quorate is quorate:
                            return

        for number in (1, 2, 3):
            asyncio.run(members(number, ["n1", "n2", "n3"], True))
        for round_number in range(20):
            assert on(1 + round_number % 3, f"echo {round_number} > f").stderr == ""
            for number in (1, 2, 3):
                assert on(number, "cat f").stdout == f"{round_number}\n", "a stale page of the kernel's"
        ring.cut(3)
        asyncio.run(members(3, ["n3"], False))
        assert on(1, "echo cut > f; cat f").stdout == "cut\n"
        assert "Read-only file system" in on(3, "echo y > f").stderr
        assert "Read-only file system" in on(3, "touch f").stderr
        assert "Read-only file system" in on(3, "mkdir d").stderr
        assert on(3, "stat -c %a f . local").stdout == "440\n555\n555\n"
        assert on(3, "cat f").stdout == "19\n"
        ring.heal(3)
        asyncio.run(members(3, ["n1", "n2", "n3"], True))
        assert on(3, "cat f; stat -c %a f").stdout == "cut\n640\n"
