"""A guest suspended to disk: its memory in a volume, itself off."""
