"""What operators do about people's sign-ins."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from tests import factories
from tests.tenants.accounts.people import is_in, signs_in, with_app


def test_a_new_password_is_shown_once_and_ends_every_sign_in(desk: Client) -> None:
    """P-F5; the second factor stays, so that an operator does not become somebody by it."""
    person, browser = factories.user(), Client()
    signs_in(browser, person)
    with_app(person)

    shown = desk.post(reverse("admin:tenants_user_deed", args=[person.pk, "new_password"]), follow=True)

    assert browser.get("/account/profile/").status_code == 302
    signs_in(browser, person)
    assert not is_in(browser)
    password = next(
        word for word in shown.content.decode().replace("<", " ").replace(">", " ").split() if _fits(person, word)
    )
    assert signs_in(browser, person, password)["Location"] == "/account/2fa/authenticate/"
    assert password not in desk.get(reverse("admin:tenants_user_change", args=[person.pk])).content.decode()


def _fits(person: factories.User, word: str) -> bool:
    person.refresh_from_db()
    return len(word) == 20 and person.check_password(word)
