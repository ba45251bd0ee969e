"""A node's guests come and go with their host."""
