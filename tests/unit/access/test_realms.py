import stat
from pathlib import Path

import pytest

from kvorum.access import GeneratedPassword, PamRealm, PveRealm, Realms, stored_password
from kvorum.access.realms import pam_service
from kvorum.core.errors import AuthenticationError, KvorumError
from kvorum.store.memory import MemoryStore

pytestmark = pytest.mark.slow


def test_a_password_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "login-password"
    password = stored_password(file)
    assert len(password) >= 16
    assert stored_password(file) == password
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_only_the_right_user_and_password_get_in() -> None:
    realms = Realms([GeneratedPassword("secret")])
    await realms.check("root@pam", "secret")
    for user, password in (
        ("root@pam", "Secret"),
        ("joe@pam", "secret"),
        ("root@pve", "secret"),
        ("root", "secret"),
        ("@pam", "secret"),
        ("root@pam", ""),
        ("root@pam", "\ud800"),
    ):
        with pytest.raises(AuthenticationError, match="authentication failure"):
            await realms.check(user, password)


async def test_pam_refuses_a_user_that_does_not_exist() -> None:
    with pytest.raises(AuthenticationError, match="authentication failure"):
        await PamRealm("other").check("nobody-by-this-name", "x")
    with pytest.raises(AuthenticationError):
        await PamRealm("other").check("root", "x\0y")


def test_our_service_of_pam_is_asked_where_there_is_one(tmp_path: Path) -> None:
    assert pam_service(tmp_path) == "login"
    (tmp_path / "kvorum").write_text("@include common-auth\n")
    assert pam_service(tmp_path) == "kvorum"


async def test_a_system_password_that_cannot_be_set_is_said_without_the_password() -> None:
    with pytest.raises(KvorumError) as caught:
        await PamRealm("other").change_password("nobody-by-this-name", "hunter2-hunter2", "root@pam")
    assert "hunter2" not in str(caught.value)
    for user, password in (("a:b", "long enough"), ("a\nroot", "long enough"), ("", "x"), ("a", "x\nroot:y")):
        with pytest.raises(KvorumError, match="control characters"):
            await PamRealm("other").change_password(user, password, "root@pam")


async def test_realm_pve_knows_its_users_and_takes_no_hash_of_another_kind() -> None:
    store = MemoryStore()
    await store.write("user.cfg", "user:joe@pve:1:0:::::\n")
    await store.write("priv/shadow.cfg", "old:$5$abc$def:\nbroken:x:\n")
    realm = PveRealm(store)
    await realm.change_password("joe", "correct horse", "root@pam")
    await realm.check("joe", "correct horse")
    for user, password in (
        ("joe", "wrong"),
        ("old", "abc"),
        ("broken", "x"),
        ("none", ""),
        ("joe", "\ud800"),
    ):
        with pytest.raises(AuthenticationError, match="authentication failure"):
            await realm.check(user, password)
    with pytest.raises(KvorumError, match="no such user"):
        await realm.change_password("none", "correct horse", "root@pam")
