"""Guests copied: full and linked clones, templates."""
