from pathlib import Path

import pytest

from kvorum.cli.client import Client
from kvorum.cli.failures import UsageFailure
from kvorum.cli.pvesh import NoSuchHandler, listing, usage
from kvorum.cli.table import Table

NOWHERE = Client(Path("/nonexistent"))


def test_usage_shows_lines_and_with_verbose_what_parameters_mean() -> None:
    table = Table.load()
    short = usage(table, ["/nodes/n1/tasks"])
    assert short == "USAGE: pvesh get /nodes/n1/tasks [OPTIONS]\n"
    assert "--typefilter" in usage(table, ["/nodes/n1/tasks", "--verbose"])
    assert "--typefilter" in usage(table, ["--command", "get", "/nodes/n1/tasks"])
    assert '"upid"' in usage(table, ["/nodes/n1/tasks", "--returns"])
    with pytest.raises(NoSuchHandler, match="No 'set' handler defined for '/nodes/n1/tasks'"):
        usage(table, ["/nodes/n1/tasks", "--command", "set"])
    with pytest.raises(UsageFailure, match="Unknown option: bogus"):
        usage(table, ["/nodes/n1/tasks", "--bogus"])


def test_directories_are_listed_as_readable() -> None:
    lines = listing(Table.load(), NOWHERE, "/").splitlines()
    assert "Dr---  cluster" in lines
    assert "Dr---  nodes" in lines
    assert "-r---  version" in lines
