"""What one node reports: its load and memory, and the rows of nodes, guests and storages made from all reports."""

from kvorum.node.record import NodeRecord

__all__ = ["NodeRecord"]
