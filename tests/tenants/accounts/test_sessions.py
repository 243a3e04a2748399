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
from tenants.models import User
from tenants.services.invitations import invitation_by_secret
from tenants.words import browser_words
from tests import factories
from tests.tenants.accounts.people import is_in, signs_in
from tests.tenants.test_invitations import invite, link, secret

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


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome, Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari, iPhone"),
        ("curl/8.9", "curl/8.9"),
        ("", ""),
    ],
)
def test_a_browser_is_called_as_people_know_it(agent: str, words: str) -> None:
    assert browser_words(agent) == words
