"""The way of SPICE clients to guests: an HTTP proxy for nothing but that."""
