import stat
from pathlib import Path

import pytest

from kvorum.access import GeneratedPassword, PamRealm, Realms, stored_password
from kvorum.access.realms import pam_service
from kvorum.core.errors import AuthenticationError


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
