"""Every REST route asks for exactly what its row says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from portal.api import api
from tenants.models import Role
from tenants.policy import ALL_TENANT_PERMISSIONS, Permission
from tenants.scoping import every_tenant
from tenants.services.tokens import Scope, token_create
from tests import factories
from tests.architecture.permissions import TABLE, Row
from tests.architecture.world import World, body_for, build
from tests.portal.api.rest import Answer, Rest

pytestmark = pytest.mark.django_db
PREFIX = "/api/v1"


def test_every_route_has_exactly_one_row() -> None:
    routes = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, item in api.document["paths"].items()
        for method in item
        if method != "parameters"
    }
    rows = [(row.method, row.route) for row in TABLE]

    assert len(rows) == len(set(rows))
    assert set(rows) == routes


def test_nobody_gets_in_without_a_token() -> None:
    world = build()
    rest = Rest()

    open_to_all = [row for row in TABLE if _ask(world, row, rest).status != 401]

    assert open_to_all == []


def test_one_permission_is_enough(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 100_000
    world = build()
    token_for = _tokens(world)

    refused = [
        (row, answer)
        for row in TABLE
        if (answer := _ask(world, row, Rest(token_for(row, exactly=True)))).status in (401, 403, 404)
        or answer.status >= 500
        or (answer.status == 422)
    ]

    assert refused == []


def test_all_other_permissions_are_not(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 100_000
    world = build()
    token_for = _tokens(world)

    let_in = [
        (row, answer)
        for row in TABLE
        if row.permission is not None
        and (answer := _ask(world, row, Rest(token_for(row, exactly=False)))).status != 403
    ]

    assert let_in == []


def _ask(world: World, row: Row, rest: Rest) -> Answer:
    """One request, of which nothing stays."""
    with transaction.atomic():
        answer = rest.ask(row.method, world.path(row.route), body_for(world, row))
        transaction.set_rollback(True)
    return answer


def _tokens(world: World) -> Callable[..., str]:
    """A token of a role with exactly one permission, or with all but that; an operator's and an owner's for ``OPERATE``.

    What is about a token is asked with that token itself: it renews no other.
    """
    operator = factories.user(operator=True)
    _row, operating = token_create(operator, name="t", actor=factories.desk(), scope=Scope([Permission.OPERATE.value]))
    person, token = factories.member_with(world.house.tenant, [])
    own = world.token_of(person)

    def token_for(row: Row, *, exactly: bool) -> str:
        permission = row.permission
        if permission == Permission.OPERATE:
            return operating if exactly else world.house.token
        one = {permission} if permission is not None else set()
        held = one.union(row.also) if exactly else ALL_TENANT_PERMISSIONS - one
        with every_tenant(why="test"):
            role = Role.objects.get(tenant=world.house.tenant, name__startswith="role-")
            role.permissions = sorted(p.value for p in held)
            role.save()
        return own if "{token_id}" in row.route else token

    return token_for
