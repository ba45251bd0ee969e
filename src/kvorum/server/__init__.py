"""The daemons that answer HTTP: pvedaemon on its socket, pveproxy on :8006, and both in one for ``serve``."""
