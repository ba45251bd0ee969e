"""What answers, in the words clients compare versions with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import NotRequired, TypedDict

API_VERSION = "9.2.11"
"""The version of the known API that this one follows: clients choose their behaviour by it."""


class Version(TypedDict):
    """The answer of ``/version``; ``console`` is the viewer that the admin chose for all."""

    version: str
    release: str
    repoid: str
    console: NotRequired[str]


def _own_version() -> str:
    try:
        return version("kvorum")
    except PackageNotFoundError:
        return "0"


VERSION = Version(
    version=API_VERSION,
    release=API_VERSION.rpartition(".")[0],
    repoid=_own_version().encode().hex().ljust(8, "0"),
)
