"""A second factor: setting one up, and passing it. Incidents P-C8 and P-F1."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.models import User
from tests import factories
from tests.tenants.accounts.people import (
    FACTOR,
    LOGIN,
    SECOND,
    code,
    confirms,
    factors,
    is_in,
    recovery_codes,
    signs_in,
    with_app,
    wrong_code,
)

pytestmark = pytest.mark.django_db


# --- setting one up -------------------------------------------------------------------------------------------------
def test_an_app_is_set_up_with_the_password_and_a_code(client: Client) -> None:
    person = factories.user()
    signs_in(client, person)

    assert client.get("/account/2fa/totp/activate/")["Location"].startswith("/account/reauthenticate/")
    confirms(client)
    secret = client.get("/account/2fa/totp/activate/").context["form"].secret
    client.post("/account/2fa/totp/activate/", {"code": wrong_code(secret)})
    assert factors(person) == set()
    done = client.post("/account/2fa/totp/activate/", {"code": code(secret)})

    assert done["Location"] == "/account/2fa/recovery-codes/"
    assert factors(person) == {"totp", "recovery_codes"}
    shown = client.get(done["Location"]).context["unused_codes"]
    assert len(set(shown)) == 10
    assert b"have been shown" in client.get(done["Location"]).content


def test_no_dump_of_the_database_shows_a_secret() -> None:
    person = factories.user()
    secret, codes = with_app(person), recovery_codes(person)

    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(data AS text) FROM mfa_authenticator")
        dump = "".join(row[0] for row in cursor.fetchall())
    assert secret not in dump
    assert not any(each in dump for each in codes)


@pytest.mark.django_db(transaction=True)
def test_another_factor_ends_sign_ins_that_passed_without_it(client: Client, revoked: list[dict[str, Any]]) -> None:
    person, elsewhere = factories.user(), Client()
    signs_in(elsewhere, person)
    signs_in(client, person)
    confirms(client)
    before = client.session.session_key
    secret = client.get("/account/2fa/totp/activate/").context["form"].secret

    client.post("/account/2fa/totp/activate/", {"code": code(secret)})

    assert elsewhere.get("/account/profile/").status_code == 302
    assert client.get("/account/profile/").status_code == 200
    assert client.session.session_key != before
    assert [said["reason"] for said in revoked] == ["signed out elsewhere"]


# --- passing it -----------------------------------------------------------------------------------------------------
def test_a_password_alone_is_half_of_a_sign_in(client: Client) -> None:
    house = factories.tenant_with_owner()
    secret = with_app(house.owner)

    assert signs_in(client, house.owner)["Location"] == SECOND
    assert not is_in(client)
    for path in (f"/t/{house.tenant.slug}/", FACTOR, "/account/profile/", "/account/sessions/", "/operator/"):
        assert client.get(path, follow=True).redirect_chain[-1][0].startswith((LOGIN, SECOND)), path
    assert not is_in(client)
    client.post(SECOND, {"code": code(secret)})

    assert is_in(client)
    assert client.get(f"/t/{house.tenant.slug}/").status_code == 200


def test_a_code_works_once(client: Client) -> None:
    person = factories.user()
    secret = with_app(person)
    now = code(secret)
    signs_in(client, person)
    client.post(SECOND, {"code": now})
    assert is_in(client)

    again = Client()
    signs_in(again, person)
    again.post(SECOND, {"code": now})
    assert not is_in(again)


def test_a_code_works_once_for_as_long_as_it_is_right(client: Client) -> None:
    """The library's own memory ends after 30 s; with a tolerance of one period the code is right for 90."""
    person = factories.user()
    secret = with_app(person)
    ahead = code(secret, ahead=1)
    signs_in(client, person)
    client.post(SECOND, {"code": ahead})
    assert is_in(client)
    assert cache.delete(f"allauth.mfa.totp.used?user={person.pk}&code={ahead}")

    again = Client()
    signs_in(again, person)
    again.post(SECOND, {"code": ahead})
    assert not is_in(again)


def test_a_recovery_code_works_once(client: Client) -> None:
    person = factories.user()
    with_app(person)
    first = recovery_codes(person)[0]

    for visitor, passes in ((client, True), (Client(), False)):
        signs_in(visitor, person)
        visitor.post(SECOND, {"code": first})
        assert is_in(visitor) is passes


def test_codes_cannot_be_guessed_from_many_places() -> None:
    """The second step counts by account: whoever stands there has the password already."""
    person = factories.user()
    secret = with_app(person)
    right, wrong = code(secret), wrong_code(secret)
    for number in range(6):
        guesser = Client(REMOTE_ADDR=f"198.51.100.{number}")
        signs_in(guesser, person)
        guesser.post(SECOND, {"code": wrong})

    last = Client(REMOTE_ADDR="198.51.100.200")
    signs_in(last, person)
    last.post(SECOND, {"code": right})
    assert not is_in(last)


STEPS = st.lists(
    st.sampled_from(
        [
            "password", "wrong password", "other's password", "wrong code", "other's code", "other's recovery code",
            "empty code", "credential", "skip", "trust", "reauthenticate", "pages", "cancel", "deactivate", "reset",
        ]
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_order_of_steps_leads_in_without_both_factors(steps: list[str]) -> None:
    """P-C8: whatever is sent, and in whatever order, without the victim's second factor nobody becomes the victim."""
    victim, attacker = _pair()
    client = Client()
    theirs = code(attacker[1])

    for step in steps:
        _take(client, step, victim[0], victim[1], attacker[0], theirs)
        assert client.session.get("_auth_user_id") != str(victim[0].pk), steps
    assert factors(victim[0]) == {"totp", "recovery_codes"}


def _pair() -> tuple[tuple[User, str], tuple[User, str]]:
    made = []
    for _ in range(2):
        person = factories.user()
        made.append((person, with_app(person)))
        recovery_codes(person)
    return made[0], made[1]


def _take(client: Client, step: str, victim: User, secret: str, attacker: User, theirs: str) -> None:
    """One thing that an attacker who knows the victim's password may send."""
    pages = {
        "password": lambda: signs_in(client, victim),
        "wrong password": lambda: signs_in(client, victim, "wrong", code=theirs),
        "other's password": lambda: signs_in(client, attacker),
        "wrong code": lambda: client.post(SECOND, {"code": wrong_code(secret)}),
        "other's code": lambda: client.post(SECOND, {"code": theirs, "user": str(victim.pk)}),
        "other's recovery code": lambda: client.post(SECOND, {"code": recovery_codes(attacker)[0]}),
        "empty code": lambda: client.post(SECOND, {"code": ""}),
        "credential": lambda: client.post(SECOND, {"credential": '{"id":"x","response":{"userHandle":"x"}}'}),
        "skip": lambda: client.post(f"{SECOND}?code=000000&next=/", {"action": "skip", "passwordless": "true"}),
        "trust": lambda: client.post("/account/2fa/trust/", {"action": "trust"}),
        "reauthenticate": lambda: client.post("/account/2fa/reauthenticate/", {"code": theirs}),
        "pages": lambda: client.get(FACTOR),
        "cancel": lambda: client.post("/account/logout/"),
        "deactivate": lambda: client.post("/account/2fa/totp/deactivate/"),
        "reset": lambda: client.post("/account/password/reset/", {"email": victim.email}),
    }
    pages[step]()


def test_switching_it_off_takes_more_than_a_session(client: Client) -> None:
    person = factories.user()
    secret = with_app(person)
    signs_in(client, person)
    client.post(SECOND, {"code": code(secret)})

    client.post("/account/2fa/totp/deactivate/")
    client.post("/account/2fa/recovery-codes/generate/")
    assert factors(person) == {"totp"}
    client.post("/account/2fa/reauthenticate/", {"code": code(secret, ahead=1)})
    client.post("/account/2fa/totp/deactivate/")
    assert factors(person) == set()


def test_one_s_factor_is_not_another_s_to_remove(client: Client) -> None:
    person, other = factories.user(), factories.user()
    key = Authenticator.objects.create(user=other, type=Authenticator.Type.WEBAUTHN, data={"name": "theirs"})
    signs_in(client, person)
    confirms(client)

    for act in ("remove", "edit"):
        assert client.post(f"/account/2fa/webauthn/keys/{key.pk}/{act}/", {"name": "mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()
