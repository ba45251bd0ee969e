"""What one node reports of itself, and the rows of nodes and guests made from all reports."""

from kvorum.node.record import NodeRecord

__all__ = ["NodeRecord"]
