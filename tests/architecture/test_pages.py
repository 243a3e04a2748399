"""Every page asks for exactly what its row says, and shows nothing of another tenant."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from portal.core.ids import uuid7
from tenants.models import Role, User
from tenants.policy import ALL_TENANT_PERMISSIONS, Permission
from tenants.scoping import every_tenant
from tests import factories
from tests.architecture.alike import told
from tests.architecture.pages import PAGES, PageRow
from tests.architecture.world import World, build

pytestmark = pytest.mark.django_db
NAMESPACES = ("tenants", "vms", "operations", "billing")
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def routes() -> dict[str, URLPattern]:
    """Every page of ours by its name."""
    found: dict[str, URLPattern] = {}
    for included in get_resolver().url_patterns:
        namespace = getattr(included, "namespace", None)
        if namespace in NAMESPACES:
            found |= {f"{namespace}:{route.name}": route for route in included.url_patterns}
    return found


def in_tenant(row: PageRow) -> bool:
    """Is it a tenant's page, rather than a person's own?"""
    return not row.name.startswith("tenants:") or "tenant" in path_names(row)


def path(row: PageRow, world: World, **ids: Any) -> str:
    """The row's address in ``world``."""
    named = set(re.findall(r"<(?:\w+:)?(\w+)>", str(routes()[row.name].pattern)))
    given = {
        "tenant": world.house.tenant.slug,
        "action": "stop",
        "what": "screen",
        "secret": "never-was",
        "period": "2026-03",
        **world.own,
        **ids,
    }
    tenant = {"tenant"} if in_tenant(row) else set()
    return reverse(row.name, kwargs={name: given[name] for name in named | tenant})


def browser(person: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(person, backend=BACKEND)
    return client


def ask(client: Client, row: PageRow, address: str, **headers: str) -> HttpResponseBase:
    """One request, of which nothing stays."""
    with transaction.atomic():
        answer = client.generic(row.method, address, headers=headers)
        transaction.set_rollback(True)
    return answer


def test_every_page_has_a_row() -> None:
    assert {row.name for row in PAGES} == set(routes())
    assert len({(row.method, row.name) for row in PAGES}) == len(PAGES)


def test_nobody_sees_a_page_without_signing_in() -> None:
    world = build()

    for row in PAGES:
        answer = ask(Client(), row, path(row, world))
        if row.anybody:
            assert answer.status_code == 404, row
            continue
        assert answer.status_code == 302, row
        assert answer["Location"].startswith("/account/login/"), row


def test_one_permission_is_enough_and_all_others_are_not() -> None:
    world = build()
    person, _token = factories.member_with(world.house.tenant, [])
    world.token_of(person)
    client, operator = browser(person), browser(factories.user(operator=True))

    for row in PAGES:
        if row.permission is None:
            continue
        _give(world, person, {row.permission, *row.also})
        let_in = operator if row.permission == Permission.OPERATE else client
        assert ask(let_in, row, path(row, world)).status_code not in (401, 403, 404, 405, 500, 503), row
        _give(world, person, ALL_TENANT_PERMISSIONS - {row.permission})
        assert ask(client, row, path(row, world)).status_code == 403, row


def path_names(row: PageRow) -> set[str]:
    return set(re.findall(r"<(?:\w+:)?(\w+)>", str(routes()[row.name].pattern)))


def _give(world: World, person: User, permissions: Any) -> None:
    with every_tenant(why="test"):
        role = Role.objects.get(tenant=world.house.tenant, name__startswith="role-")
        role.permissions = sorted(str(permission) for permission in permissions)
        role.save()


def test_things_of_others_are_not_there() -> None:
    ours, theirs = build(), build()
    client = browser(ours.house.owner)
    shown: list[PageRow] = []

    for row in PAGES:
        ids = {name: value for name, value in theirs.own.items() if name in path_names(row)}
        if not ids:
            continue
        foreign = told(client, row.method, path(row, ours, **ids))
        absent = told(client, row.method, path(row, ours, **dict.fromkeys(ids, str(uuid7()))))
        assert foreign == absent, row
        if foreign.status != 404 and foreign[:2] != (200, b""):
            shown.append(row)

    assert shown == []


def test_projects_of_others_are_not_there() -> None:
    ours, theirs = build(), build()
    client = browser(ours.house.owner)

    for row in PAGES:
        if not in_tenant(row):
            continue
        foreign = told(client, row.method, path(row, theirs))
        absent = told(client, row.method, path(row, theirs, tenant="never-was"))
        assert foreign.status == 404, row
        assert foreign == absent, row
