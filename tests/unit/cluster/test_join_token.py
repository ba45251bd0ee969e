"""A join token lets one node in, in time, and says why it lets no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.cluster.join_token import KEPT_S, MOST, PREFIX, Ticket, Tokens, read_ticket, states
from kvorum.core.errors import AuthenticationError, ParameterError

FINGERPRINT = ":".join(["AB"] * 32)
NOW = 1_800_000_000.0


def test_the_text_carries_where_to_go_and_whom_to_expect() -> None:
    ticket = Ticket("198.18.10.1", FINGERPRINT, {0: "198.18.10.1", 1: "198.18.11.1"}, "00" * 16)
    text = ticket.text()
    assert read_ticket(f" {text}\n") == ticket
    assert len(text) < 160, "a QR code of it must fit a terminal"


@given(st.text(max_size=300))
def test_what_is_no_token_is_one_sentence(text: str) -> None:
    for given_text in (text, PREFIX + text):
        with pytest.raises(ParameterError, match="is no join token"):
            read_ticket(given_text)


def test_a_token_cut_short_is_refused() -> None:
    text = Ticket("10.0.0.1", FINGERPRINT, {0: "10.0.0.1"}, "11" * 16).text()
    for length in range(len(text)):
        with pytest.raises(ParameterError):
            read_ticket(text[:length])


def test_the_secret_is_not_kept() -> None:
    tokens, kept, secret = Tokens().made("root@pam", 10, NOW)
    assert secret not in tokens.text() and Tokens.read(tokens.text()) == tokens
    assert tokens.check(secret, NOW + 599) == kept
    assert states(tokens.rows, NOW)[0].keys() == {"id", "by", "expires", "state"}


def test_wrong_used_and_expired_are_told_apart() -> None:
    tokens, kept, secret = Tokens().made("root@pam", 10, NOW)
    with pytest.raises(AuthenticationError, match="not one of this cluster"):
        tokens.check("00" * 16, NOW)
    with pytest.raises(AuthenticationError, match="expired at 2027-01-15 08:10 UTC"):
        tokens.check(secret, NOW + 600)
    used = tokens.used_by(kept, "n2", NOW)
    assert used.check(secret, NOW + 1, "n2").node == "n2", "its own join may be repeated"
    with pytest.raises(AuthenticationError, match="was used by node 'n2' at 2027-01-15 08:00 UTC"):
        used.check(secret, NOW + 1, "n3")
    assert [row["state"] for row in states(used.rows, NOW)] == ["used by n2"]


def test_a_revoked_token_is_a_stranger() -> None:
    tokens, kept, secret = Tokens().made("root@pam", 10, NOW)
    with pytest.raises(ParameterError, match="no join token 'x'"):
        tokens.revoked("x")
    with pytest.raises(AuthenticationError, match="not one of this cluster"):
        tokens.revoked(kept.id).check(secret, NOW)


def test_the_file_stays_small() -> None:
    tokens = Tokens()
    for n in range(MOST + 3):
        tokens, _, _ = tokens.made("root@pam", 10, NOW + n)
    assert len(tokens.rows) == MOST
    tokens, _, _ = tokens.made("root@pam", 10, NOW + 2 * KEPT_S)
    assert len(tokens.rows) == 1
    assert Tokens.read("garbage") == Tokens() == Tokens.read('[{"id": 1}]')
