"""What a foreign site can make a browser do here: nothing; and what somebody without an account can make of an empty portal."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import reverse

from portal.admin_base import ServiceAdmin
from portal.api import METHODS
from tenants.models import User
from tests import factories
from tests.architecture import doors
from tests.architecture.doors import Who
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE
from tests.architecture.test_pages import BACKEND, path
from tests.architecture.world import World, build
from tests.portal.admin.rows import one_of_each

pytestmark = pytest.mark.django_db
SITE = "/operator/"
HOLE = re.compile(r"\(\?P<\w+>[^)]*\)|<[^>]*>")


def plain(pattern: str) -> str:
    """An address that fits a pattern."""
    return "/" + HOLE.sub("1", pattern).replace("^", "").replace("$", "")


def browsers_addresses(world: World) -> Iterator[str]:
    """Every address that a browser opens: pages, accounts, the operators' site; REST takes no cookie."""
    yield from (path(row, world) for row in PAGES)
    yield from (plain(pattern) for pattern in doors.ROUTES if pattern.startswith(("account/", "operator/")))
    for model, row in one_of_each().items():
        shown = admin.site._registry[model]
        assert isinstance(shown, ServiceAdmin)
        stem = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{stem}_changelist")
        yield reverse(f"{stem}_change", args=[row.pk])
        yield from (reverse(f"{stem}_deed", args=[row.pk, deed.name]) for deed in shown.deeds.values() if not deed.adds)


def person(who: User, *, checks: bool = False) -> Client:
    client = Client(enforce_csrf_checks=checks)
    client.force_login(who, backend=BACKEND)
    return client


def test_nothing_is_sent_from_another_site_in_somebodys_name() -> None:
    """P-F8: every address, with every method that changes something, as an owner and as an operator; forms and JSON alike."""
    world = build()
    owner, operator = person(world.house.owner, checks=True), person(factories.user(operator=True), checks=True)
    others = [method for method in METHODS if method not in ("GET", "POST")]
    kinds = ("application/x-www-form-urlencoded", "text/plain", "application/json")
    taken = []

    for number, address in enumerate(browsers_addresses(world)):
        client, kind = operator if address.startswith(SITE) else owner, kinds[number % len(kinds)]
        taken += [
            (method, address, answer.status_code)
            for method in ("POST", others[number % len(others)])
            if (answer := client.generic(method, address, "{}", content_type=kind)).status_code != 403
        ]

    assert taken == []


def test_no_page_is_shown_inside_another_sites() -> None:
    """P-F10: the console's pages above all, on which a click is a click in somebody's machine."""
    world = build()
    owner, operator = person(world.house.owner), person(factories.user(operator=True))
    framed = []

    for address in [*browsers_addresses(world), "/no/such/page/", "/api/v1/docs"]:
        for client in (operator if address.startswith(SITE) else owner, Client()):
            with transaction.atomic():
                answer = client.get(address)
                transaction.set_rollback(True)
            policy = answer.headers.get("Content-Security-Policy", "")
            if "frame-ancestors 'none'" not in policy or answer.headers.get("X-Frame-Options") != "DENY":
                framed.append((address, answer.status_code, policy))

    assert framed == []
    assert (
        "frame-ancestors 'none'"
        in owner.get(path(next(r for r in PAGES if r.name == "vms:console_serial"), world))["Content-Security-Policy"]
    )


def test_an_empty_portal_makes_nobody_anybody() -> None:
    """P-C12: there is no first page that makes an operator; that is for whoever has the machine's shell."""
    guess = {
        "email": "first@example.test", "login": "first@example.test", "username": "admin", "password": factories.PASSWORD,
        "password1": factories.PASSWORD, "password2": factories.PASSWORD, "is_staff": "on", "code": "1", "name": "First",
    }  # fmt: skip
    rest = [f"api/v1{row.route}" for row in TABLE]
    pages = [pattern for pattern, _name in doors.addresses()]

    for pattern in [*pages, *rest]:
        client = Client()
        for answer in (client.get(plain(pattern)), client.post(plain(pattern), guess)):
            assert answer.status_code < 500 or pattern == "readyz", (pattern, answer.status_code)
        assert "_auth_user_id" not in client.session, pattern

    assert User.objects.count() == 0


def test_every_way_in_is_open_to_browsers_of_nobody() -> None:
    """What ``doors`` says of addresses outside of the rooms: closed ones lead to the sign-in, public ones do not."""
    for pattern, who in doors.ROUTES.items():
        answer = Client().get(plain(pattern))
        leads_in = answer.status_code == 302 and answer["Location"].startswith(("/account/login/", "/operator/login/"))
        if who in (Who.SIGNED_IN, Who.OPERATORS):
            assert leads_in, pattern
        elif who in (Who.TOKEN, Who.OPERATORS_TOKENS):
            assert answer.status_code in (401, 404), pattern
        elif who is Who.MACHINES:
            assert answer.status_code in (200, 503), pattern
