"""A forgotten password: incidents P-F4, P-F5 and P-C13."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import Client

from tenants.models import Letter, User
from tenants.services.people import password_set
from tests import factories
from tests.tenants.accounts.people import is_in, signs_in, with_app

pytestmark = pytest.mark.django_db
RESET = "/account/password/reset/"
LINK = re.compile(r"https?://\S+/account/password/reset/key/\S+")
NEW = "another good secret"


def asks(email: str, **headers: str) -> Any:
    return Client().post(RESET, {"email": email}, headers=headers)


def link_of(person: User) -> str:
    """The newest link that was sent to somebody."""
    letter = Letter.objects.filter(to=person.email).latest("created_at")
    found = LINK.search(letter.body)
    assert found is not None, letter.body
    return found.group()


def code_of(email: str) -> str:
    """The code in the only letter that was sent to an address."""
    found = re.search(r"^\s*([A-Z0-9]{3,}(?:-[A-Z0-9]+)*)\s*$", Letter.objects.get(to=email).body, re.MULTILINE)
    assert found is not None
    return found.group(1)


def opens(link: str, password: str = NEW, **facts: Any) -> Client:
    client = Client(**facts)
    form = client.get(link.removeprefix(django_settings.PUBLIC_URL), follow=True)
    client.post(form.request["PATH_INFO"], {"password1": password, "password2": password})
    return client


def test_the_link_of_a_letter_makes_a_new_password_once() -> None:
    person = factories.user()
    asks(person.email)
    link = link_of(person)

    client = opens(link)
    opens(link, "yet another secret")

    assert not is_in(client), "a link opens no session"
    person.refresh_from_db()
    assert person.check_password(NEW)


def test_who_has_a_second_factor_needs_it_after_a_reset_too(client: Client) -> None:
    person = factories.user()
    with_app(person)
    asks(person.email)
    opens(link_of(person))

    assert signs_in(client, person, NEW)["Location"] == "/account/2fa/authenticate/"
    assert not is_in(client)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"}, {"Host": "testserver:8443"}, {"Host": "evil.test:80@testserver"}, {"X-Host": "evil.test"},
        {"X-Forwarded-Host": "evil.test"}, {"Forwarded": "host=evil.test"}, {"X-Forwarded-Port": "444"},
        {"X-Forwarded-Proto": "gopher"},
    ],
    ids=str,
)  # fmt: skip
def test_no_header_decides_where_a_link_leads(headers: dict[str, str]) -> None:
    person = factories.user()

    answer = asks(person.email, **headers)

    if answer.status_code == 400:
        assert not Letter.objects.filter(to=person.email).exists()
        return
    assert link_of(person).startswith(django_settings.PUBLIC_URL + "/")
    assert "evil" not in Letter.objects.get(to=person.email).body


@pytest.mark.parametrize(
    ("theirs", "typed"),
    [
        ("mike@example.test", "mıke@example.test"),
        ("mike@example.test", "mike@example.teſt"),
        ("mike@example.test", "miKe@example.test"),
        ("mike@example.test", "ｍike@example.test"),
        ("mike@example.test", "mike@example.test\u200b"),
        ("office@example.test", "oﬃce@example.test"),
    ],
    ids=["dotless i", "long s", "kelvin", "fullwidth", "zero width", "ligature"],
)
def test_an_address_that_only_looks_alike_gets_no_link(theirs: str, typed: str) -> None:
    factories.user(theirs)

    asks(typed)

    assert not any(LINK.search(letter.body) for letter in Letter.objects.exclude(to=theirs))
    assert not [letter for letter in Letter.objects.all() if LINK.search(letter.body) and letter.to != theirs]


def test_known_and_unknown_addresses_get_the_same_answer_and_the_same_work() -> None:
    person = factories.user()

    said = []
    for email in (person.email, "nobody@nowhere.test"):
        cache.clear()
        answer = asks(email)
        said.append((answer.status_code, answer["Location"], sorted(answer.headers)))

    assert said[0] == said[1]
    assert Letter.objects.count() == 2
    assert not LINK.search(Letter.objects.get(to="nobody@nowhere.test").body)


def test_a_link_for_somebody_else_is_not_made_of_one_s_own() -> None:
    person, other = factories.user(), factories.user()
    asks(person.email)
    asks(other.email)
    mine, theirs = link_of(person), link_of(other)
    forged = (
        theirs.rsplit("/", 2)[0]
        + "/"
        + theirs.rsplit("/", 2)[1].split("-")[0]
        + "-"
        + mine.rsplit("/", 2)[1].split("-", 1)[1]
        + "/"
    )

    opens(forged)

    other.refresh_from_db()
    assert not other.check_password(NEW)


def test_an_operator_s_reset_ends_every_sign_in(client: Client) -> None:
    """P-F5: PegaProx left sessions alive."""
    person = factories.user()
    signs_in(client, person)

    password_set(person, password=NEW, actor=factories.desk())

    assert client.get("/account/profile/").status_code == 302
    signs_in(client, person)
    assert not is_in(client)


def test_a_changed_password_ends_other_sign_ins_and_keeps_this_one(client: Client) -> None:
    person, elsewhere = factories.user(), Client()
    signs_in(elsewhere, person)
    signs_in(client, person)
    before = client.session.session_key

    client.post("/account/password/change/", {"oldpassword": factories.PASSWORD, "password1": NEW, "password2": NEW})

    assert client.get("/account/profile/").status_code == 200
    assert client.session.session_key != before
    assert elsewhere.get("/account/profile/").status_code == 302


def test_a_changed_address_counts_once_its_code_is_entered(client: Client) -> None:
    person, elsewhere = factories.user(), Client()
    old = person.email
    signs_in(elsewhere, person)
    signs_in(client, person)
    client.post("/account/reauthenticate/", {"password": factories.PASSWORD})

    client.post("/account/email/", {"action_add": "", "email": "new@example.test"})
    person.refresh_from_db()
    assert person.email == old
    client.post("/account/confirm-email/", {"code": "WRONG1", "action": "verify"})
    person.refresh_from_db()
    assert person.email == old
    client.post("/account/confirm-email/", {"code": code_of("new@example.test"), "action": "verify"})

    person.refresh_from_db()
    assert person.email == "new@example.test"
    assert elsewhere.get("/account/profile/").status_code == 302
    assert Letter.objects.filter(to=old).exists(), "whoever has the old address is told"


def test_the_address_of_somebody_else_cannot_be_taken(client: Client) -> None:
    person, other = factories.user(), factories.user()
    signs_in(client, person)
    client.post("/account/reauthenticate/", {"password": factories.PASSWORD})

    client.post("/account/email/", {"action_add": "", "email": other.email.upper()})
    client.post("/account/confirm-email/", {"code": code_of(other.email), "action": "verify"})

    person.refresh_from_db()
    assert person.email != other.email
    assert list(EmailAddress.objects.filter(email=other.email).values_list("user", flat=True)) == [other.pk]
