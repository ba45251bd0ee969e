"""A node's shell for a browser's or a client's terminal."""

from kvorum.node.terminal.consoles import Console, Consoles

__all__ = ["Console", "Consoles"]
