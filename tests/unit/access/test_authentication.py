import asyncio

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kvorum.access import AccessAuthority, Authentication, Credentials, Keys, NodeCall, SpiceTicket
from kvorum.core.errors import AuthenticationError
from kvorum.interface import Identity
from kvorum.store.memory import MemoryStore

CALL = NodeCall("n1", "POST", "/kvorum/nodes/n1/incoming/100/check")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authentication(store: MemoryStore, clock: Clock) -> Authentication:
    return Authentication(Keys(store), AccessAuthority(store, clock), clock)


def test_a_ticket_names_its_user_on_every_node_with_the_same_keys(
    authentication: Authentication, store: MemoryStore, clock: Clock
) -> None:
    ticket, _ = authentication.issue("root@pam")
    assert ticket.startswith(f"PVE:root@pam:{int(clock.now):08X}::")
    elsewhere = Authentication(Keys(store), AccessAuthority(store, clock), clock)
    assert elsewhere.identify(Credentials(ticket=ticket), changes=False) == Identity("root@pam")


def test_keys_are_those_of_the_store_as_it_is_also_when_it_has_become_another(
    authentication: Authentication, store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a join, and in a leave, the database is replaced: its versions begin anew."""
    ticket, _ = authentication.issue("root@pam")
    assert authentication.identify(Credentials(ticket=ticket), changes=False) is not None
    other = MemoryStore("n1")
    for path, data in (*other_keys().items(), ("user.cfg", b"user:root@pam:1:0:::::\n")):
        asyncio.run(other.write(path, data))
    for file in ("authkey.pub", "priv/authkey.key"):
        before, after = store.read(file), other.read(file)
        assert before is not None and after is not None and before.version == after.version
    monkeypatch.setattr(store, "read", other.read)
    with pytest.raises(AuthenticationError, match="invalid PVE ticket"):
        authentication.identify(Credentials(ticket=ticket), changes=False)
    fresh, _ = authentication.issue("root@pam")
    there = Authentication(Keys(other), AccessAuthority(other, clock), clock)
    assert there.identify(Credentials(ticket=fresh), changes=False) == Identity("root@pam")


def other_keys() -> dict[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return {
        "priv/authkey.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, clear),
        "authkey.pub": key.public_key().public_bytes(pem, public),
        "pve-www.key": b"0" * 64,
    }


def test_nothing_sent_is_nobody(authentication: Authentication) -> None:
    assert authentication.identify(Credentials(), changes=False) is None


def test_a_ticket_ends_after_two_hours_and_may_come_from_a_clock_five_minutes_ahead(
    authentication: Authentication, clock: Clock
) -> None:
    ticket, _ = authentication.issue("root@pam")
    issued = clock.now
    for age, valid in ((-301, False), (-300, True), (7200, True), (7201, False)):
        clock.now = issued + age
        assert (authentication.ticket_user(ticket) == "root@pam") is valid


def test_a_changed_ticket_is_refused_with_the_sentence_clients_compare(
    authentication: Authentication,
) -> None:
    ticket, _ = authentication.issue("joe@pve")
    for wrong in (
        ticket.replace("joe@pve", "root@pam"),
        ticket[:-8],
        "PVE:x",
        "",
        "PVE:a@b:00000000::",
        "é::é",
    ):
        if wrong:
            with pytest.raises(AuthenticationError) as caught:
                authentication.identify(Credentials(ticket=wrong), changes=False)
            assert str(caught.value) == "permission denied - invalid PVE ticket"


def test_a_change_needs_the_csrf_token_of_the_same_user(authentication: Authentication, clock: Clock) -> None:
    ticket, csrf = authentication.issue("root@pam")
    _, others = authentication.issue("joe@pve")
    good = Credentials(ticket=ticket, csrf=csrf)
    assert authentication.identify(good, changes=True) == Identity("root@pam")
    for wrong in ("", others, csrf[:-1], "zz:zz", csrf.replace(":", ":x")):
        with pytest.raises(AuthenticationError) as caught:
            authentication.identify(Credentials(ticket=ticket, csrf=wrong), changes=True)
        assert str(caught.value) == "Permission denied - invalid csrf token"


def test_a_nodes_word_counts_for_a_minute_and_is_no_login(
    authentication: Authentication, clock: Clock
) -> None:
    word = authentication.node_word("n2", CALL)
    found = authentication.identify(Credentials(node_ticket=word), changes=True, call=CALL)
    assert found is not None
    assert found.node == "n2"
    assert not AccessAuthority(MemoryStore()).allowed(found, "/", "Sys.Audit")
    with pytest.raises(AuthenticationError):
        authentication.identify(Credentials(ticket=word), changes=False)
    clock.now += 361
    with pytest.raises(AuthenticationError, match="invalid node ticket"):
        authentication.identify(Credentials(node_ticket=word), changes=True, call=CALL)


@pytest.mark.parametrize(
    "other",
    [
        None,
        NodeCall("n3", "POST", "/kvorum/nodes/n1/incoming/100/check"),
        NodeCall("n1", "DELETE", "/kvorum/nodes/n1/incoming/100/check"),
        NodeCall("n1", "POST", "/kvorum/nodes/n1/incoming/101/check"),
    ],
)
def test_a_nodes_word_is_good_for_one_call_only(
    authentication: Authentication, other: NodeCall | None
) -> None:
    word = authentication.node_word("n2", CALL)
    with pytest.raises(AuthenticationError, match="invalid node ticket"):
        authentication.identify(Credentials(node_ticket=word), changes=True, call=other)


def test_a_users_ticket_is_no_nodes_word(authentication: Authentication) -> None:
    ticket, _ = authentication.issue("node@pam")
    with pytest.raises(AuthenticationError):
        authentication.identify(Credentials(node_ticket=ticket), changes=False)


def test_after_a_change_of_keys_old_tickets_are_void_unless_the_old_key_is_kept(
    authentication: Authentication, store: MemoryStore
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    ticket, _ = authentication.issue("root@pam")
    assert authentication.ticket_user(ticket) == "root@pam"
    old = store.read("authkey.pub")
    assert old is not None
    new = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = new.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    asyncio.run(store.write("authkey.pub", pem))
    assert authentication.ticket_user(ticket) is None
    asyncio.run(store.write("authkey.pub.old", old.data))
    assert authentication.ticket_user(ticket) == "root@pam"


def test_an_unknown_token_is_refused(authentication: Authentication) -> None:
    with pytest.raises(AuthenticationError) as caught:
        authentication.identify(Credentials(token="root@pam!x=secret"), changes=True)
    assert "secret" not in str(caught.value)


def test_without_keys_no_ticket_is_issued_or_believed() -> None:
    empty = MemoryStore("n1")
    bare = Authentication(Keys(empty), AccessAuthority(empty))
    with pytest.raises(AuthenticationError, match=r"authkey\.key' is missing"):
        bare.issue("root@pam")
    with pytest.raises(AuthenticationError, match="invalid PVE ticket"):
        bare.identify(Credentials(ticket="PVE:root@pam:00000000::AAAA"), changes=False)


def test_root_may_everything_and_others_nothing_yet() -> None:
    authority = AccessAuthority(MemoryStore())
    assert authority.allowed(Identity("root@pam"), "/vms/100", "VM.Audit")
    assert not authority.allowed(Identity("root@pam", token="t"), "/vms/100", "VM.Audit")
    assert not authority.allowed(Identity("joe@pve"), "/", "Sys.Audit")


SPICE = SpiceTicket(100, "n1", "0123456789abcdef")


def test_a_spice_ticket_is_a_hosts_name_in_lower_case_that_says_where_to(
    authentication: Authentication,
) -> None:
    ticket = authentication.spice_ticket(SpiceTicket(100, "N1", SPICE.session))
    assert ticket == ticket.lower() and ticket.startswith("pvespiceproxy:")
    assert len(ticket) <= 1021, "GLib takes no longer name"
    assert not {".", "/", "%", "=", " "} & set(ticket)
    assert authentication.spice_ticket_of(ticket) == SPICE
    assert authentication.spice_ticket_of(ticket.upper()) == SPICE


@pytest.mark.parametrize(
    ("part", "other"), [(":100:", ":101:"), (":n1:", ":n2:"), ("0123456789abcdef", "0123456789abcdee")]
)
def test_a_spice_ticket_that_was_changed_is_none(
    authentication: Authentication, part: str, other: str
) -> None:
    ticket = authentication.spice_ticket(SPICE)
    assert authentication.spice_ticket_of(ticket.replace(part, other)) is None


def test_a_spice_ticket_ages(authentication: Authentication, clock: Clock) -> None:
    ticket = authentication.spice_ticket(SPICE)
    clock.now += 40 + 300
    assert authentication.spice_ticket_of(ticket) == SPICE
    clock.now += 1
    assert authentication.spice_ticket_of(ticket) is None
    clock.now -= 40 + 300 + 1 + 301
    assert authentication.spice_ticket_of(ticket) is None, "of a time to come"


@pytest.mark.parametrize(
    "text", ["", "pvespiceproxy:", "pvespiceproxy:0:100:n1:00:aa", "www.example", "a" * 5000]
)
def test_what_is_no_spice_ticket_is_none(authentication: Authentication, text: str) -> None:
    assert authentication.spice_ticket_of(text) is None


def test_other_tickets_are_no_spice_tickets_and_it_is_none_of_them(
    authentication: Authentication,
) -> None:
    ticket = authentication.spice_ticket(SPICE)
    login, _ = authentication.issue("root@pam")
    assert authentication.spice_ticket_of(login) is None
    assert authentication.ticket_user(ticket) is None
    assert not authentication.console_ticket_valid(ticket, "root@pam", "/vms/100")
