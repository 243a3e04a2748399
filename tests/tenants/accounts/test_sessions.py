"""Where people are signed in: listed, ended, and never so many that signing in or looking becomes slow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.core.clock import now
from tenants.accounts.browsers import browser_label
from tenants.models import Letter, Notice, User
from tenants.services.invitations import invitation_by_secret
from tenants.services.people import password_set
from tests import factories
from tests.tenants.accounts.people import is_in, signs_in
from tests.tenants.inviting import invite, link, secret

pytestmark = pytest.mark.django_db
PAGE = "/account/sessions/"
FLOOD = 10_000


def flood(person: User, count: int) -> None:
    """Sign somebody in that often, long ago: rows as they lie in the database."""
    data = SessionStore().encode({"_auth_user_id": str(person.pk), "_auth_user_hash": person.get_session_auth_hash()})
    old, keys = now() - timedelta(hours=1), [f"flood{number:035}" for number in range(count)]
    Session.objects.bulk_create(
        Session(pk=key, session_data=data, expire_date=now() + timedelta(days=9)) for key in keys
    )
    UserSession.objects.bulk_create(
        UserSession(user=person, ip="192.0.2.1", session_key=key, user_agent="x", created_at=old) for key in keys
    )


def queries(deed: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as counted:
        deed()
    return len(counted)


def test_signing_in_costs_no_more_after_a_flood() -> None:
    calm, flooded = factories.user(), factories.user()
    factories.tenant_with_owner()
    signs_in(Client(), calm)
    flood(flooded, FLOOD)

    few = queries(lambda: signs_in(Client(), calm))
    many = queries(lambda: signs_in(Client(), flooded))

    assert many <= few + 4, "what a flood has left is ended with a handful of statements"
    assert UserSession.objects.filter(user=flooded).count() == FLOOD + 1 - 100


def test_the_list_costs_no_more_after_a_flood(settings: Any) -> None:
    person, client = factories.user(), Client()
    signs_in(client, person)
    client.get(PAGE)
    few = queries(lambda: client.get(PAGE))
    flood(person, FLOOD)

    many = queries(lambda: client.get(PAGE))
    page = client.get(PAGE)

    assert many == few
    assert len(page.context["sessions"]) == settings.CAPS["sign_ins"]
    assert page.content.decode().count("this one") == 1


def test_signing_out_everywhere_else_after_a_flood_takes_a_handful_of_statements() -> None:
    person, client = factories.user(), Client()
    signs_in(client, person)
    flood(person, FLOOD)

    assert queries(lambda: client.post(PAGE)) < 40

    assert UserSession.objects.filter(user=person).count() == 1
    assert not Session.objects.filter(pk__startswith="flood").exists()
    assert "You are signed out everywhere else." in client.get(PAGE, follow=True).content.decode()


def test_whoever_signs_in_too_often_is_signed_out_in_the_oldest(settings: Any, revoked: list[dict[str, Any]]) -> None:
    settings.CAPS = {**settings.CAPS, "sign_ins": 3}
    person, clients = factories.user(), [Client() for _ in range(5)]

    for client in clients:
        signs_in(client, person)

    inside = [client.get("/account/profile/").status_code == 200 for client in clients]
    assert inside == [False, False, True, True, True]
    assert UserSession.objects.filter(user=person).count() == 3
    assert len([said for said in revoked if said["reason"] == "signed out elsewhere"]) == 2


def test_what_ran_out_or_ended_with_a_password_is_not_listed() -> None:
    person, client, elsewhere, gone = factories.user(), Client(), Client(), Client()
    for each in (elsewhere, gone, client):
        signs_in(each, person)
    Session.objects.filter(pk=gone.session.session_key).update(expire_date=now() - timedelta(days=1))

    both = len(client.get(PAGE).context["sessions"])
    new = "a new correct horse"
    client.post("/account/password/change/", {"oldpassword": factories.PASSWORD, "password1": new, "password2": new})

    assert both == 2
    assert len(client.get(PAGE).context["sessions"]) == 1


def test_whoever_joined_by_an_invitation_is_listed_and_can_be_signed_out() -> None:
    """A sign-in that nobody noted would outlive "sign out everywhere else"."""
    invite(factories.tenant_with_owner("harbour"))
    first, second = Client(), Client()
    assert invitation_by_secret(secret())
    first.post(link(), {"name": "Mara", "password": factories.PASSWORD})
    assert is_in(first)
    signs_in(second, User.objects.get(email="mara@example.test"))

    assert len(second.get(PAGE).context["sessions"]) == 2
    second.post(PAGE)

    assert first.get("/account/profile/").status_code == 302


# --- one by one -----------------------------------------------------------------------------------------------------
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "label"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        (f"{CHROME} Edg/141.0", "Edge on Windows"),
        (f"{CHROME} OPR/120.0", "Opera on Windows"),
        (CHROME.replace("Windows NT 10.0; Win64; x64", "Linux; Android 15; K"), "Chrome on Android"),
        (CHROME.replace("Windows NT 10.0; Win64; x64", "X11; CrOS x86_64 16181.0"), "Chrome on ChromeOS"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit/605 Version/18.0 Safari/605.1", "Safari on macOS"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 CriOS/141 Safari/604",
            "Chrome on iPhone",
        ),
        ("curl/8.9", "curl"),
        ("Something of one's own, of which nobody has heard, and with far more to say", None),
        ("", "An unknown browser"),
    ],
    ids=lambda value: str(value)[-24:],
)
def test_a_browser_has_a_name_in_words(agent: str, label: str | None) -> None:
    assert browser_label(agent) == (label or agent[:60])


def test_one_browser_can_be_signed_out_and_no_one_else_s() -> None:
    person, other = factories.user(), factories.user()
    phone, desk, stranger = Client(headers={"User-Agent": CHROME}), Client(headers={"User-Agent": FIREFOX}), Client()
    signs_in(phone, person)
    signs_in(stranger, other)
    signs_in(desk, person)
    shown = {row.label: row.pk for row in desk.get(PAGE).context["sessions"]}

    refused = desk.post(f"{PAGE}{UserSession.objects.get(user=other).pk}/end/")
    desk.post(f"{PAGE}{shown['Chrome on Windows']}/end/")

    assert set(shown) == {"Chrome on Windows", "Firefox on Linux"}
    assert refused.status_code == 404
    assert [is_in(each) for each in (stranger, desk)] == [True, True]
    assert phone.get("/account/profile/").status_code == 302
    assert desk.post(f"{PAGE}{shown['Firefox on Linux']}/end/")["Location"] == "/account/login/"
    assert desk.get("/account/profile/").status_code == 302


def told(person: User) -> list[str]:
    return list(Notice.objects.filter(user=person).order_by("created_at", "pk").values_list("subject", flat=True))


def test_a_sign_in_with_a_browser_not_seen_before_is_told() -> None:
    person, known, new = (
        factories.user(),
        Client(headers={"User-Agent": CHROME}),
        Client(headers={"User-Agent": FIREFOX}),
    )
    signs_in(known, person)
    known.post("/account/logout/")
    signs_in(known, person)
    assert told(person) == []

    signs_in(new, person)

    assert told(person) == ["You signed in with a browser not seen before"]
    letter = Letter.objects.get(to=person.email)
    assert "Firefox on Linux, from 127.0.0.1" in letter.body


def test_a_browser_is_not_seen_because_another_person_signed_in_with_it() -> None:
    person, other, shared = factories.user(), factories.user(), Client()
    signs_in(Client(), person)
    signs_in(shared, other)
    shared.post("/account/logout/")

    signs_in(shared, person)

    assert told(person) == ["You signed in with a browser not seen before"]
    shared.post("/account/logout/")
    signs_in(shared, other)
    assert told(other) == []


def test_a_new_token_is_told_to_whom_it_acts_as() -> None:
    house = factories.tenant_with_owner()
    client = Client()
    signs_in(client, house.owner)

    client.post(f"/t/{house.tenant.slug}/tokens/create/", {"name": "nightly", "scope": "look", "expires": "30"})

    assert told(house.owner) == ["A new API token acts as you"]
    text = Notice.objects.get(user=house.owner).text
    assert text.startswith("nightly (gh_")
    assert f"made by {house.owner.email} from 127.0.0.1" in text
    assert Letter.objects.filter(to=house.owner.email, subject="A new API token acts as you").exists()


def test_a_password_that_an_operator_sets_is_told() -> None:
    person = factories.user()

    password_set(person, password="n e w", actor=factories.desk())

    assert told(person) == ["An operator gave your account a new password"]
    assert Letter.objects.filter(to=person.email).count() == 1
