"""The methods of the frame itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from kvorum.interface import Context, LoggedIn, NoParameters, method


class Version(TypedDict):
    """What answers, in the words clients compare versions with."""

    version: str
    release: str
    repoid: str


API_VERSION = "9.2.11"
"""The version of the known API that this one follows: clients choose their behaviour by it."""


def _own_version() -> str:
    try:
        return version("kvorum")
    except PackageNotFoundError:
        return "0"


_VERSION = Version(
    version=API_VERSION,
    release=API_VERSION.rpartition(".")[0],
    repoid=_own_version().encode().hex().ljust(8, "0"),
)


@method("GET", "/version", permission=LoggedIn())
async def api_version(ctx: Context, p: NoParameters) -> Version:
    """API version details."""
    return _VERSION
