"""A node's shell for a browser's or a client's terminal."""

from kvorum.node.terminal.session import shell

__all__ = ["shell"]
