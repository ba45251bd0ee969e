"""Snapshots of guests: their disks at one instant, on request with their memory; and the way back."""
