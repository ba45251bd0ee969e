"""The API's methods about the cluster; importing this declares them."""

from kvorum.cluster.methods import (
    adoption,
    history,
    information,
    leaving,
    links,
    membership,
    page,
    qdevice,
    relink,
    renaming,
    tokens,
    votes,
)

__all__ = [
    "adoption",
    "history",
    "information",
    "leaving",
    "links",
    "membership",
    "page",
    "qdevice",
    "relink",
    "renaming",
    "tokens",
    "votes",
]
