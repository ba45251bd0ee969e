"""The past of this node, its guests and storages: round-robin databases in /run, saved to disk."""

from kvorum.node.history.databases import Databases
from kvorum.node.history.recorder import Recorder
from kvorum.node.history.schema import GUEST, NODE, STORAGE, TIMEFRAMES, Schema

__all__ = ["GUEST", "NODE", "STORAGE", "TIMEFRAMES", "Databases", "Recorder", "Schema"]
