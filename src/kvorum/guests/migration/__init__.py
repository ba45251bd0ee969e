"""Guests move between nodes: the sequence, the source's side and the target's."""
