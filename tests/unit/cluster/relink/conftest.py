"""Makes the small world of links for each test."""

import pytest
from relink_world import World


@pytest.fixture
async def world() -> World:
    """Three nodes on two links."""
    it = World()
    await it.begin()
    return it
