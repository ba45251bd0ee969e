"""Watches what breaks clusters silently: each link's state, latency and loss, and the nodes' clocks."""
