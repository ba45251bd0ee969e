"""Who a request is from, by what it carries. A verified ticket is remembered, so that RSA is paid once."""

from __future__ import annotations

from dataclasses import dataclass

from kvorum.access.csrf import csrf_token, csrf_valid
from kvorum.access.keys import Keys
from kvorum.access.signing import Clock, verified, wall_clock
from kvorum.access.tickets import NodeCall, node_ticket, ticket_node, ticket_user, user_ticket
from kvorum.core.errors import AuthenticationError
from kvorum.interface import Identity

INVALID_TICKET = "permission denied - invalid PVE ticket"
INVALID_CSRF = "Permission denied - invalid csrf token"

_REMEMBERED = 1024


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

    def __init__(self, keys: Keys, clock: Clock = wall_clock) -> None:
        self._keys = keys
        self._clock = clock
        self._statements: dict[str, str] = {}
        self._generation = (0, 0)

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
            name = credentials.token.partition("=")[0]
            raise AuthenticationError(f"no such API token '{name[:100]}'")
        if not credentials.ticket:
            return None
        user = self.ticket_user(credentials.ticket)
        if user is None:
            raise AuthenticationError(INVALID_TICKET)
        if changes and not csrf_valid(self._keys.www, user, credentials.csrf, self._clock()):
            raise AuthenticationError(INVALID_CSRF)
        return Identity(user=user, address=address)

    def ticket_user(self, ticket: str) -> str | None:
        """Whose valid ticket this is, or ``None``."""
        statement = self._statement(ticket)
        return ticket_user(statement, self._clock()) if statement else None

    def issue(self, user: str) -> tuple[str, str]:
        """A new ticket and CSRF token for ``user``; raises ``AuthenticationError`` where there is no key."""
        now = self._clock()
        return user_ticket(self._keys.private, user, now), csrf_token(self._keys.www, user, now)

    def node_word(self, node: str, call: NodeCall) -> str:
        """A ticket for one call to another node, as ``node``."""
        return node_ticket(self._keys.private, node, call, self._clock())

    def _statement(self, ticket: str) -> str | None:
        generation = self._keys.generation
        if generation != self._generation:
            self._statements.clear()
            self._generation = generation
        known = self._statements.get(ticket)
        if known is not None:
            return known
        statement = verified(self._keys.public, ticket)
        if statement is not None:
            if len(self._statements) >= _REMEMBERED:
                self._statements.pop(next(iter(self._statements)))
            self._statements[ticket] = statement
        return statement
