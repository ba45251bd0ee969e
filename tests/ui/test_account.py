"""A second factor at the login, and what users change of their own account."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

GENERATOR = {"id": "f1", "type": "totp", "description": "phone", "created": 1_700_000_000}


def open_account(page: Page, user: str = "root@pam") -> Any:
    page.get_by_role("button", name=f"Menu of {user}").click()
    page.get_by_role("menuitem", name="My account…").click()
    return page.get_by_role("dialog")


def log_in(page: Page, user: str = "anna", realm: str = "pve") -> None:
    page.locator("#realm").select_option(realm)
    page.locator("#username").fill(user)
    page.locator("#password").fill("kvorum")
    page.keyboard.press("Enter")


def last_change(server: Any) -> tuple[str, str, dict[str, str]]:
    changes = [request for request in server.world.requests if request[1] != "/access/ticket"]
    return changes[-1]  # type: ignore[no-any-return]


class TestLogin:
    def test_a_second_factor_is_asked_for_and_a_wrong_one_is_refused(
        self, open_page: Any, server: Any
    ) -> None:
        server.world.factors = [GENERATOR]
        page = open_page()
        log_in(page)
        code = page.get_by_label("One-time password")
        code.fill("000000")
        page.get_by_role("button", name="Log in").first.click()
        expect(page.get_by_role("alert")).to_contain_text("authentication failure")
        expect(code).to_have_value("")
        code.fill("123456")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Menu of anna@pve")).to_be_visible()
        _, path, form = server.world.requests[-1]
        assert path == "/access/ticket"
        assert form["password"] == "totp:123456"
        assert form["tfa-challenge"].startswith("PVE:!tfa!")

    def test_a_recovery_key_does_too_and_one_can_go_back(self, open_page: Any, server: Any) -> None:
        server.world.factors = [GENERATOR]
        page = open_page()
        log_in(page)
        page.get_by_role("button", name="Use a recovery key").click()
        expect(page.get_by_text("Few are left")).to_be_visible()
        page.get_by_role("button", name="Log in as somebody else").click()
        expect(page.locator("#password")).to_have_value("")
        log_in(page)
        page.get_by_role("button", name="Use a recovery key").click()
        page.get_by_label("Recovery key").fill("aaaa-bbbb")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Menu of anna@pve")).to_be_visible()


class TestFactors:
    def test_an_app_is_added_by_its_code_and_shown_password(self, page: Page, server: Any) -> None:
        dialog = open_account(page)
        expect(dialog).to_contain_text("the password is enough to log in")
        dialog.get_by_role("button", name="Add an authenticator app…").click()
        expect(dialog.get_by_role("img", name="QR code with the secret")).to_be_visible()
        dialog.get_by_label("Name, such as").fill("phone")
        dialog.get_by_label("The password the app shows now").fill("111111")
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("is not the generator's present password")
        dialog.get_by_label("The password the app shows now").fill("123456")
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog.get_by_role("row").filter(has_text="phone")).to_be_visible()
        _, path, form = last_change(server)
        assert path == "/access/tfa/root@pam"
        uri = r"otpauth://totp/Kvorum%20home:root%40pam\?secret=[A-Z2-7]{32}&issuer=Kvorum%20home&.*"
        assert re.fullmatch(uri, form["totp"])
        dialog.get_by_role("button", name="Remove phone").click()
        expect(dialog).to_contain_text("the password is enough to log in")

    def test_recovery_keys_are_shown_once_and_others_confirm_by_their_password(
        self, open_page: Any, server: Any
    ) -> None:
        page = open_page()
        log_in(page)
        dialog = open_account(page, "anna@pve")
        make = dialog.get_by_role("button", name="Make recovery keys")
        expect(make).to_be_disabled()
        dialog.get_by_label("Your own password").fill("kvorum")
        make.click()
        expect(dialog.get_by_label("Recovery keys", exact=True).first).to_have_value(
            re.compile("aaaa-bbbb"), timeout=3000
        )
        expect(dialog).to_contain_text("This is shown once.")
        assert last_change(server)[2] == {"type": "recovery", "password": "kvorum"}


class TestTokens:
    def test_a_tokens_secret_is_shown_once_and_it_can_be_removed(self, page: Page, server: Any) -> None:
        dialog = open_account(page)
        dialog.get_by_role("tab", name="API tokens").click()
        expect(dialog).to_contain_text("There is no API token.")
        dialog.get_by_label("Token", exact=True).fill("ci")
        dialog.get_by_label("Comment").fill("builds")
        dialog.get_by_role("button", name="Add token").click()
        expect(dialog.get_by_label("Secret")).to_have_value("5ec2e7")
        expect(dialog.get_by_role("row").filter(has_text="ci")).to_contain_text("its own only")
        assert last_change(server)[2] == {"comment": "builds", "privsep": "1"}
        dialog.get_by_role("button", name="Remove ci").click()
        expect(dialog).to_contain_text("There is no API token.")
        assert last_change(server)[:2] == ("DELETE", "/access/users/root@pam/token/ci")


class TestPassword:
    def test_a_user_of_pve_changes_it_and_must_know_the_present_one(
        self, open_page: Any, server: Any
    ) -> None:
        page = open_page()
        log_in(page)
        dialog = open_account(page, "anna@pve")
        dialog.get_by_role("tab", name="Password").click()
        change = dialog.get_by_role("button", name="Change password")
        dialog.get_by_label("Present password").fill("wrong")
        dialog.get_by_label("New password", exact=True).fill("short")
        expect(dialog).to_contain_text("at least 8 characters")
        dialog.get_by_label("New password", exact=True).fill("long enough")
        dialog.get_by_label("New password again").fill("long enouhg")
        expect(dialog).to_contain_text("The two new passwords differ.")
        expect(change).to_be_disabled()
        dialog.get_by_label("New password again").fill("long enough")
        change.click()
        expect(dialog.get_by_role("alert")).to_contain_text("authentication failure")

    def test_roots_password_is_linuxs(self, page: Page) -> None:
        dialog = open_account(page)
        dialog.get_by_role("tab", name="Password").click()
        expect(dialog).to_contain_text("“passwd” on the node changes it")
