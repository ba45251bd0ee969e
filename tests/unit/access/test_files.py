"""The files of users and secrets: what is read is what was written, and nothing is lost."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvorum.access.files import names
from kvorum.access.files.domains_cfg import RealmConfig
from kvorum.access.files.secrets_cfg import Shadow, TokenSecrets, hashed
from kvorum.access.files.tfa_cfg import Recovery, TfaConfig, TotpFactor, UserFactors
from kvorum.access.files.user_cfg import Grant, Group, Pool, Role, Token, User, UserConfig
from kvorum.core.errors import Conflict, KvorumError

pytestmark = pytest.mark.slow

WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{1,11}", fullmatch=True).filter(lambda w: w[-1].isalnum())
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
USER_ID = st.builds(lambda name, realm: f"{name}@{realm}", WORD, WORD)
NUMBER = st.integers(0, 2**40)
TOKEN = st.builds(Token, NUMBER, st.booleans(), TEXT)
USER = st.builds(
    User,
    st.booleans(), NUMBER, TEXT, TEXT, TEXT, TEXT, TEXT, st.dictionaries(WORD, TOKEN, max_size=2),
)  # fmt: skip
WHO = st.one_of(USER_ID, WORD.map(lambda g: f"@{g}"), st.builds(lambda u, t: f"{u}!{t}", USER_ID, WORD))
PATH = st.sampled_from(["/", "/vms", "/vms/100", "/storage/local", "/pool/a/b", "/nodes/n1"])


def one_propagation(grants: frozenset[Grant]) -> frozenset[Grant]:
    return frozenset({(g.path, g.who, g.role): g for g in sorted(grants)}.values())


CONFIG = st.builds(
    UserConfig,
    st.dictionaries(USER_ID, USER, max_size=3).map(lambda users: {"root@pam": User(), **users}),
    st.dictionaries(WORD, st.builds(Group, st.frozensets(USER_ID, max_size=3), TEXT), max_size=3),
    st.dictionaries(
        WORD,
        st.builds(
            Pool,
            TEXT,
            st.frozensets(st.integers(100, 999), max_size=3),
            st.frozensets(WORD, max_size=2),
        ),
        max_size=3,
    ),
    st.dictionaries(WORD, st.builds(Role, st.frozensets(WORD, max_size=3)), max_size=3),
    st.frozensets(st.builds(Grant, PATH, WHO, WORD, st.booleans()), max_size=5).map(one_propagation),
)


@given(CONFIG)
def test_user_cfg_reads_back_what_it_wrote(config: UserConfig) -> None:
    assert UserConfig.parse(config.render()) == config


@given(st.text(max_size=200))
@example("0\r\r")
def test_any_text_is_read_and_its_next_version_stays_the_same(text: str) -> None:
    once = UserConfig.parse(text).render()
    assert UserConfig.parse(once).render() == once


@given(
    st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",))), max_size=5)
)
def test_no_line_that_is_not_understood_is_lost(lines: list[str]) -> None:
    kept = [f"other{n}:{line}" for n, line in enumerate(lines)]
    config = UserConfig.parse("\n".join([*kept, "user:joe@pve:1:0:::::"]))
    assert set(kept) <= set(config.render().split("\n"))
    assert "joe@pve" in config.users


def test_user_cfg_has_the_known_lines() -> None:
    text = (
        "user:joe@pve:1:0:Jo:Doe:joe@example.org:a%3Ab:keys:\n"
        "user:root@pam:1:0::::::\n"
        "token:joe@pve!ci:1700000000:1:for ci:\n"
        "\ngroup:admins:joe@pve,root@pam:The admins:\n"
        "\npool:dev:Development:100,101:local,nas:\n"
        "\nrole:Starter:VM.Audit,VM.PowerMgmt:\n"
        "\nacl:1:/:@admins:Administrator:\n"
        "acl:0:/vms/100:joe@pve:PVEAuditor:\n"
        "acl:1:/vms/100:joe@pve,joe@pve!ci:PVEVMUser,Starter:\n"
    )
    config = UserConfig.parse(text)
    assert config.users["joe@pve"].comment == "a:b"
    assert config.users["joe@pve"].tokens["ci"] == Token(1700000000, True, "for ci")
    assert config.groups_of("joe@pve") == {"admins"}
    assert config.pools["dev"].vms == {100, 101}
    assert Grant("/vms/100", "joe@pve", "PVEAuditor", propagate=False) in config.grants
    assert config.render() == text


@pytest.mark.parametrize(
    "line",
    [
        "user:joe",
        "user:joe@pve:yes",
        "group:a b:",
        "acl:1:/elsewhere:joe@pve:PVEAuditor:",
        "acl:1:/vms/../nodes:joe@pve:Administrator:",
        "token:joe@pve!:0:1::",
        "token:stranger@pve!x:0:1::",
        "pool:dev::ninety:",
        "# a comment",
    ],
)
def test_a_broken_line_is_kept_and_grants_nothing(line: str) -> None:
    config = UserConfig.parse(f"user:joe@pve:1:0:::::\n{line}\n")
    assert config.others == (line,)
    assert config.render().endswith(f"{line}\n")
    assert not config.grants and not config.users["joe@pve"].tokens


def test_a_name_nobody_can_have_does_not_void_the_line_for_others() -> None:
    text = "user:root@pam:1:0::::::\n\ngroup:ops:joe,joe@pve::\n\nacl:1:/vms:@ops,x!y:NoAccess:\n"
    config = UserConfig.parse(text)
    assert config.render() == text
    assert config.groups_of("joe@pve") == {"ops"}
    assert Grant("/vms", "@ops", "NoAccess") in config.grants


def test_a_second_line_for_one_name_does_not_replace_the_first() -> None:
    config = UserConfig.parse("user:joe@pve:0:0:::::\nuser:joe@pve:1:0:::::\n")
    assert not config.users["joe@pve"].enable
    assert config.others == ("user:joe@pve:1:0:::::",)


def test_fields_behind_those_known_stay() -> None:
    text = "user:joe@pve:1:0::::::later:\nuser:root@pam:1:0::::::\n"
    assert UserConfig.parse(text).render() == text


@given(st.dictionaries(WORD, st.from_regex(r"\$[A-Za-z0-9$,=/+]{1,40}", fullmatch=True), max_size=4))
def test_shadow_and_token_files_read_back_what_they_wrote(secrets: dict[str, str]) -> None:
    assert Shadow.parse(Shadow(secrets).render()).secrets == secrets
    tokens = {f"{name}@pve!t1": kept for name, kept in secrets.items()}
    assert TokenSecrets.parse(TokenSecrets(tokens).render()).secrets == tokens


def test_strange_lines_of_the_secret_files_are_kept() -> None:
    assert Shadow.parse("joe:$x:\nstrange\njoe:$y:\n").render() == "joe:$x:\nstrange\njoe:$y:\n"
    assert TokenSecrets.parse("a@pve!t x\nstrange line here\n").render() == "a@pve!t x\nstrange line here\n"


def test_a_tokens_secret_is_kept_as_a_hash_and_a_bare_one_is_understood() -> None:
    secret = "0f1c3c86-6a73-4f4c-a2b6-1c5c9d0b2f11"
    kept = TokenSecrets().put("joe@pve!ci", hashed(secret))
    assert secret not in kept.render() and secret not in repr(kept)
    assert kept.fits("joe@pve!ci", secret)
    assert not kept.fits("joe@pve!ci", hashed(secret))
    assert not kept.fits("joe@pve!ci", "") and not kept.fits("joe@pve!other", secret)
    assert TokenSecrets.parse(f"joe@pve!ci {secret}\n").fits("joe@pve!ci", secret)


@given(
    st.dictionaries(
        USER_ID,
        st.builds(
            UserFactors,
            st.lists(st.builds(TotpFactor, WORD, TEXT, NUMBER, WORD, st.booleans(), NUMBER), max_size=2).map(
                tuple
            ),
            st.none() | st.builds(Recovery, NUMBER, st.lists(st.none() | WORD, max_size=3).map(tuple)),
            st.booleans(),
            st.dictionaries(WORD, st.lists(st.integers(), max_size=1), max_size=2),
        ),
        max_size=3,
    )
)
def test_tfa_cfg_reads_back_what_it_wrote(users: dict[str, UserFactors]) -> None:
    config = TfaConfig(users, {"webauthn": {"rp": "x"}})
    assert TfaConfig.parse(config.render()) == config


@pytest.mark.parametrize("text", ["{", "[]", '{"users": 1}', '{"users": {"a@pve": {"totp": [{}]}}}', "\x00"])
def test_a_damaged_tfa_cfg_is_refused_instead_of_letting_everybody_in(text: str) -> None:
    with pytest.raises(KvorumError, match=r"tfa\.cfg' can't be read"):
        TfaConfig.parse(text)


def test_a_factor_of_a_kind_we_cannot_check_is_asked_for_all_the_same() -> None:
    config = TfaConfig.parse('{"users": {"a@pve": {"webauthn": [{"id": "x"}]}}}')
    assert config.of("a@pve").asked_for
    assert not config.of("b@pve").asked_for
    assert '"webauthn":[{"id":"x"}]' in config.render()


def test_domains_cfg_keeps_what_it_does_not_know() -> None:
    text = "ldap: office\n\tserver1 ldap.example.org\n\tdefault 1\n\npam: pam\n\tcomment System\n\npve: pve\n"
    config = RealmConfig.parse(text)
    assert config.render() == text
    assert config.realms["office"].default
    changed = config.update("pve", {"default": "1", "comment": "Ours"})
    assert not changed.realms["office"].default and changed.realms["pve"].default
    assert "server1 ldap.example.org" in changed.render()
    assert RealmConfig.parse("nonsense\n\tmore\n").others == ("nonsense", "\tmore")
    assert set(RealmConfig.parse("").realms) == {"pam", "pve"}
    with pytest.raises(Conflict):
        config.remove("pam")


@given(st.text(max_size=100))
def test_any_text_of_domains_cfg_settles(text: str) -> None:
    once = RealmConfig.parse(text).render()
    assert RealmConfig.parse(once).render() == once


@pytest.mark.parametrize(
    "name", ["joe", "@pve", "a b@pve", "a:b@pve", "a/b@pve", "a!b@pve", "x" * 62 + "@pve"]
)
def test_no_user_is_called_so(name: str) -> None:
    with pytest.raises(ValueError, match="does not look like a valid user name"):
        names.user_id(name)


def test_a_path_for_rights_is_normalised_or_refused() -> None:
    assert names.acl_path("vms//100/") == "/vms/100"
    assert names.acl_path("/") == "/"
    for wrong in ("/x", "/vms/..", "/vms/a b", "/vms/\n"):
        with pytest.raises(ValueError, match="invalid ACL path"):
            names.acl_path(wrong)
