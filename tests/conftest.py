"""What all tests share: hypothesis judges by what it finds, never by how long a loaded machine takes, and the
tests that run beside the others are marked (lanes.py)."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kvorum", deadline=None)
settings.load_profile("kvorum")
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark before ``-m`` chooses."""
    for item in items:
        shares = "session_lab" in getattr(item, "fixturenames", ())
        if item.path.parent == HERE / "ui" or (item.path.parent == HERE / "lab" and not shares):
            item.add_marker("second_lane")
