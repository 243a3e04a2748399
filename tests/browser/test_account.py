"""One's own account in a real browser: passkeys on a virtual authenticator, an app, and every page's looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, expect

from tenants.models import User
from tenants.services.second_factor import has_second_factor
from tenants.services.sign_in_providers import provider_create
from tests import factories
from tests.browser.visitor import Visitor, looks, visitor
from tests.tenants.accounts.people import PASSWORD, code, recovery_codes, with_app

pytestmark = [pytest.mark.usefixtures("django_db_setup"), pytest.mark.django_db(transaction=True)]
"""The database first, so that it outlives the browser, whose loop would be in its way at the end."""


@pytest.fixture(scope="module", autouse=True)
def beside_a_loop() -> Iterator[None]:
    """The browser's driver runs a loop in this thread, in which Django sees a danger; here it is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture
def url(live_server: Any, settings: Any) -> str:
    """Where the portal answers; browsers know passkeys on this machine's own name."""
    settings.PUBLIC_URL = live_server.url
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    cache.clear()
    return str(live_server.url)


@pytest.fixture
def somebody(chromium: Browser, url: str, pictures: Path | None) -> Iterator[Visitor]:
    with visitor(chromium, url, pictures=pictures) as window:
        yield window


def authenticator(window: Visitor, **wish: Any) -> tuple[Any, str]:
    """Plug a virtual authenticator into the browser; the line to it, and its id."""
    line = window.page.context.new_cdp_session(window.page)
    line.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
        **wish,
    }
    return line, line.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def signs_in(window: Visitor, person: User) -> None:
    window.go("/account/login/")
    window.page.fill("input[name=login]", person.email)
    window.page.fill("input[name=password]", PASSWORD)
    window.page.get_by_role("button", name="Sign in", exact=True).click()


def confirms(window: Visitor) -> None:
    """The password once more, where it is asked for."""
    window.page.fill("input[name=password]", PASSWORD)
    window.page.get_by_role("button", name="Go on").click()


def adds_passkey(window: Visitor, name: str, *, alone: bool) -> None:
    page = window.page
    window.go("/account/2fa/webauthn/add/")
    if page.get_by_role("heading", name="Is it you?").count():
        confirms(window)
    page.fill("input[name=name]", name)
    page.get_by_label("It signs me in alone").set_checked(alone)
    page.get_by_role("button", name="Add a passkey").click()
    page.wait_for_url(re.compile("recovery-codes|/account/2fa/$"))


def test_a_passkey_signs_in_alone(somebody: Visitor) -> None:
    person = factories.user()
    authenticator(somebody)
    signs_in(somebody, person)
    adds_passkey(somebody, "my phone", alone=True)
    somebody.go("/account/2fa/webauthn/")
    expect(somebody.page.get_by_text("my phone")).to_be_visible()
    somebody.page.context.clear_cookies()

    somebody.go("/account/login/")
    somebody.page.get_by_role("button", name="Sign in with a passkey").click()
    expect(somebody.page.get_by_role("heading", name="Your projects")).to_be_visible()

    assert has_second_factor(person)
    assert somebody.faults() == []


def test_a_security_key_is_the_second_step(somebody: Visitor) -> None:
    person = factories.user()
    authenticator(somebody, transport="usb", hasResidentKey=False, hasUserVerification=False, isUserVerified=False)
    signs_in(somebody, person)
    adds_passkey(somebody, "blue key", alone=False)
    somebody.page.context.clear_cookies()

    signs_in(somebody, person)
    somebody.page.wait_for_url(re.compile("/account/2fa/authenticate/"))
    somebody.go("/account/profile/")
    somebody.page.wait_for_url(re.compile("/account/(login|2fa/authenticate)/"))
    somebody.go("/account/2fa/authenticate/")
    somebody.page.get_by_role("button", name="Use a passkey").click()
    expect(somebody.page.get_by_role("heading", name="Your projects")).to_be_visible()

    assert somebody.faults() == []


def test_a_key_of_somebody_else_or_none_opens_nothing(somebody: Visitor) -> None:
    person, other = factories.user(), factories.user()
    line, key = authenticator(somebody)
    signs_in(somebody, other)
    adds_passkey(somebody, "theirs", alone=True)
    somebody.page.context.clear_cookies()
    with_app(person)

    signs_in(somebody, person)
    somebody.page.wait_for_url(re.compile("/account/2fa/authenticate/"))
    expect(somebody.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(somebody.page.locator("form[data-passkey]")).to_have_count(0)
    somebody.go("/account/profile/")
    somebody.page.wait_for_url(re.compile("/account/(login|2fa/authenticate)/"))

    line.send("WebAuthn.clearCredentials", {"authenticatorId": key})
    line.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": False})
    somebody.page.context.clear_cookies()
    somebody.go("/account/login/")
    somebody.page.get_by_role("button", name="Sign in with a passkey").click()
    expect(somebody.page.locator("[data-passkey-error]")).to_have_text("The browser did not use a passkey. Try again.")


def test_an_app_is_set_up_by_keyboard_and_asked_for(somebody: Visitor) -> None:
    person = factories.user()
    signs_in(somebody, person)
    page = somebody.page
    somebody.go("/account/2fa/")
    page.get_by_role("link", name="Set up").focus()
    page.keyboard.press("Enter")
    confirms(somebody)
    secret = page.locator("#totp-secret").inner_text()
    page.fill("input[name=code]", code(secret))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("recovery-codes"))
    codes = page.locator("#recovery-codes").inner_text().split()
    page.context.clear_cookies()

    signs_in(somebody, person)
    page.fill("input[name=code]", codes[0])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your projects")).to_be_visible()

    assert len(codes) == 10
    assert somebody.faults() == []


def test_a_project_that_asks_leads_to_the_set_up_and_back(somebody: Visitor, settings: Any) -> None:
    house = factories.tenant_with_owner("acme")
    house.tenant.require_second_factor = True
    house.tenant.save()
    authenticator(somebody)
    signs_in(somebody, house.owner)
    page = somebody.page
    expect(page.get_by_text("A second factor is asked for there.")).to_be_visible()

    adds_passkey(somebody, "laptop", alone=True)
    somebody.go("/account/2fa/?asked=1")
    page.get_by_role("link", name="Go on").click()
    page.wait_for_url(re.compile("/t/acme/"))


@looks
def test_every_page_of_an_account(
    chromium: Browser, url: str, size: tuple[int, int], theme: str, pictures: Path | None
) -> None:
    provider_create(
        slug="acme", name="Acme", issuer="http://127.0.0.1:9", client_id="x", client_secret="y", everybody=True, private=True,
        actor=factories.desk(),
    )  # fmt: skip
    house, bare = factories.tenant_with_owner("acme"), factories.user()
    secret = with_app(house.owner)
    recovery_codes(house.owner)
    faults: list[str] = []
    with visitor(chromium, url, size=size, theme=theme, pictures=pictures) as window:

        def look(name: str, path: str = "") -> None:
            if path:
                window.go(path)
            window.picture(f"account-{name}")
            faults.extend(fault for fault in window.faults() if "WebSocket" not in fault and "/ws/" not in fault)

        for name, path in {
            "login": "/account/login/", "sign-on": "/account/sign-on/", "forgot": "/account/password/reset/",
            "forgot-done": "/account/password/reset/done/", "link-dead": "/account/password/reset/key/1-x/",
            "sign-on-error": "/account/3rdparty/login/error/", "sign-on-cancelled": "/account/3rdparty/login/cancelled/",
        }.items():  # fmt: skip
            look(name, path)
        signs_in(window, house.owner)
        window.page.wait_for_url(re.compile("authenticate"))
        look("second-step")
        window.page.fill("input[name=code]", code(secret))
        window.page.get_by_role("button", name="Sign in", exact=True).click()
        window.page.wait_for_url(re.compile("/t/acme/"))
        window.faults()
        look("reauthenticate", "/account/2fa/totp/deactivate/")
        window.page.fill("input[name=password]", PASSWORD)
        window.page.get_by_role("button", name="Go on").click()
        look("app-off")
        authenticator(window)
        adds_passkey(window, "my phone", alone=True)
        for name, path in {
            "profile": "/account/profile/", "password": "/account/password/change/", "email": "/account/email/",
            "factor": "/account/2fa/", "passkeys": "/account/2fa/webauthn/", "passkey-add": "/account/2fa/webauthn/add/",
            "codes-new": "/account/2fa/recovery-codes/generate/", "codes": "/account/2fa/recovery-codes/",
            "sessions": "/account/sessions/",
        }.items():  # fmt: skip
            look(name, path)
        window.go("/account/2fa/webauthn/")
        for act in ("Rename", "Remove"):
            window.page.get_by_role("link", name=f"{act} my phone").click()
            look(f"passkey-{act.lower()}")
            window.page.go_back()
        window.page.context.clear_cookies()
        signs_in(window, bare)
        look("factor-none", "/account/2fa/?asked=1")
        look("passkeys-none", "/account/2fa/webauthn/")
        window.go("/account/2fa/totp/activate/")
        confirms(window)
        look("app-on")

    assert faults == []
