"""The lab for tests: three real nodes for the whole run, healed after each test.

KVORUM_LAB_ROOT names a Debian root file system to use instead of the cached one; KVORUM_LAB_DEB what
``--deb`` would. A lab of the tests has its own places, so that a developer's running lab is left alone.
"""

from __future__ import annotations

import itertools
import signal
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import urllib3
from lab_cluster import Cluster, Maker, form, roots_of
from store_face import Face, mounted_store

from kvorum.lab import Lab, LabError, needs
from kvorum.lab.plan import Plan


def pytest_configure() -> None:
    """A run that is told to end takes its labs down first, as it does for Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not keep the labs up
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture(scope="session")
def lab_host() -> None:
    """Skips where no lab can run, with the reason."""
    if lacking := needs.missing(needs.look()):
        pytest.skip(lacking)


@pytest.fixture(scope="session")
def session_lab(lab_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    it = Lab(tmp_path_factory.mktemp("lab"))
    it.up(Plan(3), roots_of(Plan(3)), page_port=None)
    yield it
    it.down()


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """Three running nodes n1, n2, n3; every fault is ended after the test."""
    yield session_lab
    session_lab.recover()


@pytest.fixture(scope="session")
def formed(session_lab: Lab) -> Cluster:
    """The three nodes as one cluster, for the whole run."""
    return form(session_lab)


@pytest.fixture
def cluster(formed: Cluster, lab: Lab) -> Cluster:
    """The cluster, whole and quorate when the test begins."""
    formed.settled()
    return formed


@pytest.fixture
def clients_in_the_lab(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients built on requests reach the nodes: their connections begin in the lab's own network."""

    def through_the_lab(target: tuple[str, int], timeout: Any = None, **_: object) -> socket.socket:
        plain = cluster.lab.socket()
        plain.settimeout(30)
        plain.connect(target)
        return plain

    monkeypatch.setattr(urllib3.util.connection, "create_connection", through_the_lab)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        yield


_VMIDS = itertools.count(8100)


@pytest.fixture
def guest(cluster: Cluster) -> Iterator[Maker]:
    """Creates guests that are gone after the test: ``guest(node, *settings)`` returns the id."""
    made = []

    def make(node: str, *settings: str) -> int:
        vmid = next(_VMIDS)
        made.append(vmid)
        cluster.create(node, vmid, *settings)
        return vmid

    yield make
    cluster.lab.recover()
    cluster.settled()
    for vmid in made:
        cluster.remove(vmid)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a failure where fixtures find it."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    """A standalone store with its file system mounted."""
    async with mounted_store(tmp_path) as it:
        yield it


@pytest.fixture
def make_lab(
    lab_host: None, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[Plan], Lab]]:
    """Makes a lab of the test's own (one), and takes it down whatever happens.

    After a failure its machines' journals are printed, for they go with the lab.
    """
    with _making(tmp_path / "lab", lambda: request.node.stash.get(_FAILED, False)) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_lab(
    lab_host: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Plan], Lab]]:
    """The same for all tests of a module."""
    with _making(tmp_path_factory.mktemp("lab")) as make:
        yield make


@contextmanager
def _making(directory: Path, failed: Callable[[], bool] = lambda: False) -> Iterator[Callable[[Plan], Lab]]:
    it = Lab(directory)
    names: list[str] = []

    def make(plan: Plan, page_port: int | None = None) -> Lab:
        names.extend(machine.name for machine in plan.machines)
        it.up(plan, roots_of(plan), page_port)
        return it

    try:
        yield make
        if failed():
            _print_journals(it, names)
    finally:
        it.down()


def _print_journals(lab: Lab, names: list[str]) -> None:
    for name in names:
        with suppress(LabError):
            done = lab.exec(name, ["journalctl", "--no-pager", "-n", "200", "-o", "short-precise"])
            print(f"{name}'s journal:\n{done.stdout}")
