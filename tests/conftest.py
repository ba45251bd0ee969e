"""What all tests share: hypothesis judges by what it finds, never by how long a loaded machine takes, and the
tests of the shared lab are marked, so that the others can run beside them (lanes.py)."""

import pytest
from hypothesis import settings

settings.register_profile("kvorum", deadline=None)
settings.load_profile("kvorum")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark before ``-m`` chooses."""
    for item in items:
        if "session_lab" in getattr(item, "fixturenames", ()):
            item.add_marker("shared_lab")
