"""The pinned requirement files: everything by ==, no registry's address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FILES = ("requirements.txt", "requirements-dev.txt", "packaging/requirements-build.txt")


def pins(name: str) -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in (REPOSITORY / name).read_text().splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("name", FILES)
def test_everything_is_pinned_and_no_address_is_named(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    assert pins(name)
    assert not re.search(r"://|--\w|/opt|@", text)


def test_every_dependency_of_the_project_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {re.split("[<>=]", each)[0].replace(".", "-") for each in project["dependencies"]}
    assert wanted <= pins("requirements.txt").keys()
    tools = {re.split("[<>=]", each)[0] for each in project["optional-dependencies"]["dev"]}
    assert tools <= pins("requirements-dev.txt").keys()


def test_the_tools_run_with_the_nodes_versions() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()
