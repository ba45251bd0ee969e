"""Disks on their way: to another storage while the guest runs, to another guest; and found again."""
