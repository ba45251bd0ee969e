"""Who a request is from, by what it carries.

What a ticket says is remembered once it is verified, so that RSA is paid once: 1,024 tickets at most, until a
public key changes. Whether it is still young enough, and its user still there, is looked at each time.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access.authority import AccessAuthority
from kvorum.access.csrf import csrf_token, csrf_valid
from kvorum.access.keys import Keys
from kvorum.access.signing import Clock, verified, wall_clock
from kvorum.access.tickets import (
    Login,
    NodeCall,
    SpiceTicket,
    challenge_ticket,
    challenge_valid,
    console_ticket,
    console_ticket_valid,
    node_ticket,
    spice_ticket,
    spice_ticket_of,
    ticket_login,
    ticket_node,
    user_ticket,
)
from kvorum.core.errors import AuthenticationError
from kvorum.interface import Identity

INVALID_TICKET = "permission denied - invalid PVE ticket"
NO_TOKEN = "no such API token '{}', or its value is wrong"  # noqa: S105  # a sentence
INVALID_CSRF = "Permission denied - invalid csrf token"

_REMEMBERED = 1024
_ROOT = "root@pam"
HERITAGE_S = 900.0
"""How long root's session from before a join or leave may be taken over by the node's new keys."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carried, as text and unverified; empty where it carried none."""

    ticket: str = ""
    csrf: str = ""
    token: str = ""
    """``USER@REALM!TOKENID=SECRET``"""
    node_ticket: str = ""

    def __bool__(self) -> bool:
        return bool(self.ticket or self.token or self.node_ticket)


class Authentication:
    """Verifies credentials and issues tickets, with the cluster's keys."""

    def __init__(self, keys: Keys, authority: AccessAuthority, clock: Clock = wall_clock) -> None:
        self._keys = keys
        self._authority = authority
        self._clock = clock
        self._logins: dict[str, Login] = {}
        self._generation = (b"", b"")
        self._heritage: tuple[tuple[rsa.RSAPublicKey, ...], float] = ((), 0.0)

    def identify(
        self,
        credentials: Credentials,
        *,
        changes: bool,
        address: str = "",
        call: NodeCall | None = None,
    ) -> Identity | None:
        """Who the caller is, or ``None`` when the request carried nothing.

        ``changes`` is whether the request may change anything, and so needs the CSRF token beside a ticket.
        ``call`` is what the request asks for; another node's ticket must be for just that.
        Raises ``AuthenticationError`` for credentials that are wrong or too old.
        """
        if credentials.node_ticket:
            public, now = self._keys.public, self._clock()
            node = ticket_node(public, credentials.node_ticket, call, now) if call else None
            if node is None:
                raise AuthenticationError("invalid node ticket: is this node's clock right?")
            return Identity(user=f"{node}@node", node=node, address=address)
        if credentials.token:
            return self._token_identity(credentials.token, address)
        if not credentials.ticket:
            return None
        user = self.ticket_user(credentials.ticket)
        if user is None:
            raise AuthenticationError(INVALID_TICKET)
        if changes and not csrf_valid(self._keys.www, user, credentials.csrf, self._clock()):
            raise AuthenticationError(INVALID_CSRF)
        return Identity(user=user, address=address)

    def ticket_user(self, ticket: str) -> str | None:
        """Whose valid ticket this is, or ``None``; one of a user who is gone or disabled is not valid."""
        login = self._login(ticket)
        if login is None or not login.valid(self._clock()):
            return None
        return login.user if self._authority.active(login.user) else None

    def bequeath(self) -> None:
        """Root's tickets of now may be renewed once this node's store, and with it its keys, is another.

        For whoever lets this node join or leave a cluster, in this process alone, and for a while: root of
        the node is root of what it becomes part of. No other user's ticket is among them, since realm pve
        has other users there.
        """
        self._heritage = (self._keys.public, self._clock() + HERITAGE_S)

    def inherits(self, ticket: str, user: str) -> bool:
        """Whether this is root's valid ticket from before the node's keys changed."""
        keys, until = self._heritage
        now = self._clock()
        if user != _ROOT or now > until:
            return False
        login = ticket_login(verified(keys, ticket) or "")
        return login is not None and login.user == user and login.valid(now)

    def known_token(self, credentials: Credentials) -> None:
        """Raise ``AuthenticationError`` for a token there is not, without looking at its secret."""
        name = credentials.token.partition("=")[0]
        if "!" not in name or not self._authority.active(name):
            raise AuthenticationError(NO_TOKEN.format(name[:100]))

    def _token_identity(self, sent: str, address: str) -> Identity:
        name, _, secret = sent.partition("=")
        user, mark, token = name.partition("!")
        if not (mark and self._keys.tokens.fits(name, secret) and self._authority.active(name)):
            raise AuthenticationError(NO_TOKEN.format(name[:100]))
        return Identity(user=user, token=token, address=address)

    def issue(self, user: str) -> tuple[str, str]:
        """A new ticket and CSRF token for ``user``; raises ``AuthenticationError`` where there is no key."""
        now = self._clock()
        return user_ticket(self._keys.private, user, now), csrf_token(self._keys.www, user, now)

    def challenge(self, user: str, challenge: str) -> tuple[str, str]:
        """The ticket of one who still has to show a second factor, and a CSRF token."""
        now = self._clock()
        return challenge_ticket(self._keys.private, user, challenge, now), csrf_token(
            self._keys.www, user, now
        )

    def challenge_valid(self, ticket: str, user: str) -> bool:
        """Whether this user was given this challenge, not long ago."""
        return challenge_valid(self._keys.public, ticket, user, self._clock())

    def console_ticket(self, user: str, path: str) -> str:
        """A ticket for the console of what lies at ``path``."""
        return console_ticket(self._keys.private, user, path, self._clock())

    def console_ticket_valid(self, ticket: str, user: str, path: str) -> bool:
        """Whether this is such a ticket, still young enough."""
        return console_ticket_valid(self._keys.public, ticket, user, path, self._clock())

    def spice_ticket(self, ticket: SpiceTicket) -> str:
        """A SPICE session's ticket, as a host's name."""
        return spice_ticket(self._keys.private, ticket, self._clock())

    def spice_ticket_of(self, ticket: str) -> SpiceTicket | None:
        """What a SPICE ticket says that one of this cluster's nodes gave not long ago."""
        return spice_ticket_of(self._keys.public, ticket, self._clock())

    def node_word(self, node: str, call: NodeCall) -> str:
        """A ticket for one call to another node, as ``node``."""
        return node_ticket(self._keys.private, node, call, self._clock())

    def _login(self, ticket: str) -> Login | None:
        generation = self._keys.generation
        if generation != self._generation:
            self._logins.clear()
            self._generation = generation
        known = self._logins.get(ticket)
        if known is not None:
            return known
        statement = verified(self._keys.public, ticket)
        login = ticket_login(statement) if statement is not None else None
        if login is not None:
            if len(self._logins) >= _REMEMBERED:
                self._logins.pop(next(iter(self._logins)))
            self._logins[ticket] = login
        return login
