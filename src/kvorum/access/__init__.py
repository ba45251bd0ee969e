"""Who a caller is and what it may do: realms, tickets, tokens, privileges, the audit log."""

from kvorum.access.audit import AuditLog
from kvorum.access.authentication import Authentication, Credentials
from kvorum.access.authority import AccessAuthority
from kvorum.access.changes import put_in_pool, read_users
from kvorum.access.files.user_cfg import Pool, UserConfig
from kvorum.access.keys import Keys
from kvorum.access.realms import GeneratedPassword, PamRealm, PveRealm, Realm, Realms, stored_password
from kvorum.access.second_factor import SecondFactor
from kvorum.access.throttle import Throttle
from kvorum.access.tickets import NodeCall, SpiceTicket

__all__ = [
    "AccessAuthority",
    "AuditLog",
    "Authentication",
    "Credentials",
    "GeneratedPassword",
    "Keys",
    "NodeCall",
    "PamRealm",
    "Pool",
    "PveRealm",
    "Realm",
    "Realms",
    "SecondFactor",
    "SpiceTicket",
    "Throttle",
    "UserConfig",
    "put_in_pool",
    "read_users",
    "stored_password",
]
