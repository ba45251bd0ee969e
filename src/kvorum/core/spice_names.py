"""The name and the ports that a SPICE client is given: on them its file, the tickets and the proxy agree."""

PREFIX = "pvespiceproxy"
"""What the host's name, a ticket, begins with; a colon follows."""
TLS_PORT = 61000
"""The port of that name. Nothing listens on it."""
PROXY_PORT = 3128
"""Where each node's proxy listens (spiceproxy.socket)."""
