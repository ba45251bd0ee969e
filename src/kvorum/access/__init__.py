"""Who a caller is and what it may do: realms, tickets, privileges."""

from kvorum.access.authentication import Authentication, Credentials
from kvorum.access.authority import AccessAuthority, Grants
from kvorum.access.keys import Keys
from kvorum.access.realms import GeneratedPassword, PamRealm, Realm, Realms, stored_password
from kvorum.access.throttle import Throttle
from kvorum.access.tickets import NodeCall

__all__ = [
    "AccessAuthority",
    "Authentication",
    "Credentials",
    "GeneratedPassword",
    "Grants",
    "Keys",
    "NodeCall",
    "PamRealm",
    "Realm",
    "Realms",
    "Throttle",
    "stored_password",
]
