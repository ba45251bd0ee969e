"""Corosync's C libraries: what they declare, and how they are found and called."""
