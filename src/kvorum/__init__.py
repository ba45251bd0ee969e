"""Kvorum: Debian servers become one virtualization cluster."""

__version__ = "0.1.0"
