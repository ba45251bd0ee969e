"""The lab for tests: three real nodes for the whole run, healed after each test.

KVORUM_LAB_ROOT names a Debian root file system to use instead of the cached one; KVORUM_LAB_DEB what
``--deb`` would. A lab of the tests has its own places, so that a developer's running lab is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvorum.lab import Lab, needs
from kvorum.lab.commands import cached_roots, find_deb
from kvorum.lab.plan import Plan


def _roots(plan: Plan) -> dict[str, Path]:
    if given := os.environ.get("KVORUM_LAB_ROOT"):
        return {"node": Path(given), "plain": Path(given)}
    return cached_roots(plan, find_deb(os.environ.get("KVORUM_LAB_DEB", "auto")))


@pytest.fixture(scope="session")
def lab_host() -> None:
    """Skips where no lab can run, with the reason."""
    if lacking := needs.missing(needs.look()):
        pytest.skip(lacking)


@pytest.fixture(scope="session")
def session_lab(lab_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    it = Lab(tmp_path_factory.mktemp("lab"))
    it.up(Plan(3), _roots(Plan(3)), page_port=None)
    yield it
    it.down()


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """Three running nodes n1, n2, n3; every fault is ended after the test."""
    yield session_lab
    session_lab.recover()


@pytest.fixture
def make_lab(lab_host: None, tmp_path: Path) -> Iterator[Callable[[Plan], Lab]]:
    """Makes a lab of the test's own (one), and takes it down whatever happens."""
    it = Lab(tmp_path / "lab")

    def make(plan: Plan, page_port: int | None = None) -> Lab:
        it.up(plan, _roots(plan), page_port)
        return it

    yield make
    it.down()
