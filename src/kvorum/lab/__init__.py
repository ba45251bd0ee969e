"""The lab: a real cluster of Debian machines on one host, and the faults that happen to clusters."""

from kvorum.lab.client import Lab, LabError

__all__ = ["Lab", "LabError"]
