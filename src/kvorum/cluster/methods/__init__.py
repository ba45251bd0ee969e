"""The API's methods about the cluster; importing this declares them."""

from kvorum.cluster.methods import (
    adoption,
    history,
    information,
    leaving,
    membership,
    page,
    qdevice,
    tokens,
    votes,
)

__all__ = [
    "adoption",
    "history",
    "information",
    "leaving",
    "membership",
    "page",
    "qdevice",
    "tokens",
    "votes",
]
