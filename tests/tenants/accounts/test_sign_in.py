"""Signing in: incidents P-F1, P-F2, P-F3, P-F7, P-F9, P-C8 and P-C13."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from portal.core.clock import now
from tenants.services.people import sign_ins_forget
from tests import factories
from tests.architecture.doors import ROUTES, Who, addresses
from tests.tenants.accounts.people import LOGIN, SECOND, is_in, signs_in

pytestmark = pytest.mark.django_db
OPEN = {name for pattern, name in addresses() if ROUTES.get(pattern) is Who.ANYBODY}
"""Pages that lead in, or to such a page, without anybody being signed in."""


def account_routes(resolver: Any = None, prefix: str = "", space: str = "") -> dict[str, str]:
    """Every page of accounts: its name and an address of it."""
    found: dict[str, str] = {}
    for route in (resolver or get_resolver()).url_patterns:
        path = prefix + str(route.pattern)
        if isinstance(route, URLResolver) and (prefix or path == "account/"):
            found |= account_routes(route, path, route.namespace or space)
        elif isinstance(route, URLPattern) and prefix and route.name:
            plain = re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]*>", "1", path).replace("^", "").replace("$", "")
            found[f"{space}:{route.name}" if space else route.name] = "/" + plain
    return found


def test_every_account_page_but_the_ways_in_asks_for_a_sign_in() -> None:
    routes = account_routes()
    closed = {name for name in routes if name not in OPEN}

    for name in closed:
        answer = Client().get(routes[name])
        assert answer.status_code == 302, (name, routes[name], answer.status_code)
        assert answer["Location"].startswith(LOGIN), (name, answer["Location"])
    assert {"account_change_password", "mfa_index", "usersessions_list", "account:profile"} <= closed


def test_ways_in_show_nobody_anything_but_a_way_in() -> None:
    for name, path in account_routes().items():
        if name in OPEN:
            client = Client()
            answer = client.get(path)
            assert answer.status_code in (200, 302, 404, 405), (name, answer.status_code)
            assert not is_in(client), name


def test_sign_up_is_closed() -> None:
    answer = Client().post(
        "/account/signup/", {"email": "x@y.test", "password1": "a b c d e f g", "password2": "a b c d e f g"}
    )

    assert b"account_signup" not in answer.content
    assert not factories.User.objects.filter(email="x@y.test").exists()


def test_the_session_key_changes_at_sign_in_and_dies_at_sign_out(client: Client) -> None:
    person = factories.user()
    client.get("/account/2fa/webauthn/login/", headers={"Accept": "application/json"})
    before = client.session.session_key

    signs_in(client, person)
    inside = client.session.session_key
    client.post("/account/logout/")

    assert before
    assert inside
    assert before != inside
    assert not Session.objects.filter(session_key__in=[before, inside]).exists()
    thief = Client()
    thief.cookies[django_settings.SESSION_COOKIE_NAME] = inside
    assert thief.get("/account/profile/").status_code == 302


def test_a_planted_session_key_is_not_taken_over() -> None:
    person, client = factories.user(), Client()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = "a" * 32

    signs_in(client, person)

    assert is_in(client)
    assert client.session.session_key != "a" * 32


def test_looking_at_the_sign_in_page_leaves_no_session() -> None:
    for number in range(300):
        assert Client().get(f"{LOGIN}?next=/t/x{number}/").status_code == 200
    Client().get("/t/somewhere/")
    Client().get("/account/password/reset/")
    Client().get("/account/sign-on/")

    assert Session.objects.count() == 0


def test_sign_ins_that_ran_out_are_let_go(client: Client) -> None:
    signs_in(client, factories.user())
    Client().get("/account/2fa/webauthn/login/", headers={"Accept": "application/json"})
    Session.objects.exclude(session_key=client.session.session_key).update(expire_date=now() - timedelta(seconds=1))

    assert sign_ins_forget(at=now()) == 1
    assert client.get("/account/profile/").status_code == 200


def test_wrong_passwords_leave_no_session() -> None:
    for number in range(20):
        Client().post(LOGIN, {"login": f"x{number}@y.test", "password": "no"})

    assert Session.objects.count() == 0


def test_challenges_for_passkeys_are_rationed() -> None:
    answers = [
        Client().get("/account/2fa/webauthn/login/", headers={"Accept": "application/json"}).status_code
        for _ in range(30)
    ]

    assert answers.count(200) == 10
    assert set(answers[10:]) == {429}
    assert Session.objects.count() == 10


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.test/", "//evil.test/", "///evil.test/", "/\\evil.test/", "\\\\evil.test", "https:evil.test",
        "javascript:alert(1)", " https://evil.test/", "http:///evil.test/", "https://testserver@evil.test/", "%2f%2fevil.test",
    ],
)  # fmt: skip
def test_next_leads_nowhere_else(client: Client, wanted: str) -> None:
    answer = signs_in(client, factories.user(), next=wanted)

    assert answer.status_code == 302
    assert urlsplit(urljoin("http://testserver/account/login/", answer["Location"])).netloc == "testserver"
    assert not answer["Location"].startswith(("//", "/\\", "javascript:"))
    assert is_in(client)


def test_next_leads_to_a_page_of_ours(client: Client) -> None:
    assert signs_in(client, factories.user(), next="/t/acme/machines/")["Location"] == "/t/acme/machines/"


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(client: Client) -> None:
    signs_in(client, factories.user())

    for name in (django_settings.SESSION_COOKIE_NAME, django_settings.CSRF_COOKIE_NAME):
        cookie = client.cookies.get(name)
        if cookie is not None:
            assert cookie["httponly"]
            assert cookie["samesite"] == "Lax"
            assert not cookie["domain"]
            assert cookie["path"] == "/"


def test_a_very_long_password_is_refused_unhashed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> bool:
        raise AssertionError("hashed")

    monkeypatch.setattr("django.contrib.auth.base_user.check_password", refuse)
    monkeypatch.setattr("django.contrib.auth.hashers.BasePasswordHasher.encode", refuse, raising=False)
    answer = signs_in(client, factories.user(), "x" * 900_000)

    assert answer.status_code == 200
    assert not is_in(client)


@pytest.mark.parametrize(
    "parameters",
    [
        {"2fa": "0"}, {"tfa-challenge": "x"}, {"code": "000000"}, {"user": "1"}, {"passwordless": "1"},
        {"is_staff": "1"}, {"verified": "1"}, {"credential": "{}"}, {"process": "login"}, {"authenticated": "true"},
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_no_parameter_takes_the_place_of_a_password(client: Client, parameters: dict[str, str]) -> None:
    person = factories.user()

    for password in ("", "wrong"):
        signs_in(client, person, password, **parameters)
        client.post(f"{LOGIN}?{next(iter(parameters))}=1", {"login": person.email, **parameters})
        client.post(SECOND, parameters)
        assert not is_in(client)


def test_unknown_and_known_people_get_the_same_answer() -> None:
    known = factories.user()
    unknown = "nobody@nowhere.test"

    said = []
    for email in (known.email, unknown):
        cache.clear()
        answer = Client().post(LOGIN, {"login": email, "password": "wrong"})
        page = answer.content.decode().replace(email, "their@address")
        said.append((answer.status_code, re.sub(r'name="csrfmiddlewaretoken" value="\w+"|[0-9a-f]{32}', "", page)))

    assert said[0] == said[1]


def test_nobody_locks_anybody_else_out() -> None:
    """P-C13: Keystone CVE-2021-38155."""
    victim = factories.user()
    attacker = Client(REMOTE_ADDR="192.0.2.66")

    for _ in range(40):
        signs_in(attacker, victim, "guess")
    assert b"Too many" in signs_in(attacker, victim).content
    assert not is_in(attacker)

    home = Client(REMOTE_ADDR="198.51.100.7")
    signs_in(home, victim)
    assert is_in(home)


def test_all_addresses_together_try_one_account_so_often_and_its_own_go_on(settings: Any) -> None:
    """Whoever has a /48 has 65,536 networks; of each network a few tries a minute would be thousands."""
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed_anywhere": "6/h/key"}
    victim, other = factories.user(), factories.user()
    home = Client(REMOTE_ADDR="2001:db8:aaaa:1::1")
    signs_in(home, victim)

    for number in range(6):
        signs_in(Client(REMOTE_ADDR=f"2001:db8:bbbb:{number}::1"), victim, "guess")
    stranger, beside, neighbour = (
        Client(REMOTE_ADDR=f"2001:db8:{tail}") for tail in ("bbbb:ff::1", "aaaa:1::2", "bbbb:ff::2")
    )

    assert b"Too many" in signs_in(stranger, victim).content
    signs_in(beside, victim)
    signs_in(neighbour, other)
    assert (is_in(stranger), is_in(beside), is_in(neighbour)) == (False, True, True)


def test_a_header_gives_nobody_more_tries() -> None:
    victim = factories.user()

    for number in range(20):
        Client().post(
            LOGIN, {"login": victim.email, "password": "guess"}, headers={"X-Forwarded-For": f"198.51.100.{number}"}
        )

    late = Client()
    signs_in(late, victim)
    assert not is_in(late)


def test_somebody_switched_off_does_not_get_in(client: Client) -> None:
    person = factories.user()
    person.is_active = False
    person.save()

    signs_in(client, person)

    assert not is_in(client)


def test_the_profile_is_one_s_own_to_change(client: Client) -> None:
    person = factories.user()
    signs_in(client, person)

    assert client.post(reverse("account:profile"), {"name": "Ada", "timezone": "Europe/Vienna"}).status_code == 302
    assert client.post(reverse("account:profile"), {"name": "Ada", "timezone": "Mars/Olympus"}).status_code == 422
    person.refresh_from_db()

    assert (person.name, person.timezone) == ("Ada", "Europe/Vienna")


def test_a_page_of_a_form_without_its_token_changes_nothing() -> None:
    person, client = factories.user(), Client(enforce_csrf_checks=True)
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")

    for name, path in account_routes().items():
        for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json"):
            answer = client.generic("POST", path, '{"name":"x"}', content_type=kind)
            assert answer.status_code in (403, 404), (name, kind, answer.status_code)
