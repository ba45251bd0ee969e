"""The room's declarations of the API: ``/access`` and what is changed at ``/pools``."""

from kvorum.access.methods import acl, domains, groups, login, pools, roles, tfa, tokens, users

__all__ = ["acl", "domains", "groups", "login", "pools", "roles", "tfa", "tokens", "users"]
