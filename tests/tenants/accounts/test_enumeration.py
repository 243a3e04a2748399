"""Nobody learns who has an account here: the same answer, the same hashes, the same questions to the database (P-C13)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.models import Letter, User
from tenants.services.people import person_make
from tests import factories
from tests.tenants.accounts.people import LOGIN, confirms, signs_in, with_app

pytestmark = pytest.mark.django_db
UNKNOWN = "nobody@example.test"
OWN = re.compile(r"\b[0-9a-f]{32}\b|[A-Za-z0-9]{64}|[\w.-]+@[\w.-]+")
"""What differs from answer to answer whoever asks: the request's number, the form's token, the address that was typed."""


class CountingHasher(MD5PasswordHasher):
    """Counts how often a password was hashed."""

    done: ClassVar[list[str]] = []

    def encode(self, password: str, salt: str) -> str:
        self.done.append(password)
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def counted(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.{CountingHasher.__name__}"]


def people() -> dict[str, str]:
    """Addresses, by what stands behind each."""
    ordinary, operator, off, factor = (factories.user() for _ in range(4))
    User.objects.filter(pk=operator.pk).update(is_staff=True)
    User.objects.filter(pk=off.pk).update(is_active=False)
    with_app(factor)
    sign_on = person_make(email="sso@example.test", password=None)
    return {
        "ordinary": ordinary.email,
        "operator": operator.email,
        "switched off": off.email,
        "with a second factor": factor.email,
        "without a password": sign_on.email,
        "unknown": UNKNOWN,
    }


def watched(deed: Callable[[], Any]) -> dict[str, Any]:
    """What an answer tells, and what it took: status, headers, body, hashes, statements."""
    cache.clear()
    CountingHasher.done.clear()
    with CaptureQueriesContext(connection) as queries:
        answer = deed()
    return {
        "status": answer.status_code,
        "headers": sorted(answer.headers),
        "location": answer.headers.get("Location", ""),
        "body": OWN.sub("·", answer.content.decode()),
        "cookies": sorted(answer.cookies),
        "hashes": len(CountingHasher.done),
        "statements": sorted(statement(query["sql"]) for query in queries),
    }


def statement(sql: str) -> str:
    """What is done to which table, without what stands in it."""
    verb = re.sub(r"^DECLARE \S+ .*? FOR ", "", sql).split()[0]
    tables = re.findall(r'(?:FROM|INTO|UPDATE|JOIN) "(\w+)"', sql)
    return " ".join([verb, *tables])


def differences(seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """By person and part: what is not as it is for somebody unknown."""
    norm = seen["unknown"]
    return {
        f"{who}: {part}": (value, norm[part])
        for who, parts in seen.items()
        for part, value in parts.items()
        if value != norm[part]
    }


def test_a_wrong_password_says_the_same_of_everybody() -> None:
    everybody = people()
    for email in everybody.values():
        Client().post(LOGIN, {"login": email, "password": "wrong"})  # what is loaded once is loaded

    seen = {
        who: watched(lambda email=email: Client().post(LOGIN, {"login": email, "password": "wrong"}))
        for who, email in everybody.items()
    }

    assert differences(seen) == {}
    assert seen["unknown"]["hashes"] == 1


def test_a_forgotten_password_says_the_same_of_everybody() -> None:
    everybody = people()
    for email in everybody.values():
        Client().post("/account/password/reset/", {"email": email})

    seen = {
        who: watched(lambda email=email: Client().post("/account/password/reset/", {"email": email}))
        for who, email in everybody.items()
    }

    assert differences(seen) == {}
    assert set(Letter.objects.values_list("to", flat=True)) == set(everybody.values())


def test_another_address_is_taken_the_same_whoever_has_it() -> None:
    """Whoever is signed in asks for an address as theirs: a letter goes there, and nothing is said of it."""
    everybody, seen = people(), {}
    for who, email in everybody.items():
        person, client = factories.user(), Client()
        signs_in(client, person)
        confirms(client)
        seen[who] = watched(
            lambda client=client, email=email: client.post("/account/email/", {"action_add": "", "email": email})
        )

    for parts in seen.values():
        del parts["statements"]  # letters of two kinds
    assert differences(seen) == {}


def test_signing_up_and_dead_invitations_say_nothing_of_anybody() -> None:
    everybody, seen = people(), {}
    for who, email in everybody.items():
        wish = {"email": email, "password1": factories.PASSWORD, "password2": factories.PASSWORD}
        seen[who] = watched(lambda wish=wish: Client().post("/account/signup/", wish))
        wish = {"email": email, "name": "x", "password": factories.PASSWORD}
        seen[f"{who} by a dead link"] = watched(lambda wish=wish: Client().post("/account/invitation/dead/", wish))

    assert differences({who: parts for who, parts in seen.items() if "link" not in who}) == {}
    dead = {who.removesuffix(" by a dead link"): parts for who, parts in seen.items() if "link" in who}
    assert differences(dead) == {}
    assert {parts["status"] for parts in dead.values()} == {404}
