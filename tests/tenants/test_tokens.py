"""Tokens are never stronger than what made them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.core.clock import now
from tenants.models import ApiToken
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.tokens import Scope, token_create
from tests import factories
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db


def test_a_narrow_token_makes_no_wider_or_longer_one() -> None:
    house = factories.tenant_with_owner()
    scopes, end = [Permission.TOKEN_OWN.value], now() + timedelta(hours=1)
    with tenant_scope(house.tenant):
        _row, narrow = token_create(
            house.owner, name="narrow", actor=house.actor, tenant=house.tenant, scope=Scope(scopes, expires_at=end)
        )

    made = Rest(narrow).post(f"{house.url}/tokens", {"name": "child"})
    wider = Rest(narrow).post(f"{house.url}/tokens", {"name": "wider", "permissions": ["guest.delete"]})

    assert made.status == 201, made
    child = ApiToken.objects.get(name="child")
    assert (child.permissions, child.expires_at) == (scopes, end)
    assert (wider.status, wider.json["code"]) == (403, "beyond_own_role")


@pytest.mark.parametrize("slug", ["%00", "a%00b", "A", "a%20b", "%F0%9F%98%80", "x" * 300])
def test_what_cannot_be_a_slug_is_nobodys_tenant(slug: str) -> None:
    house = factories.tenant_with_owner()

    assert Rest(house.token).get(f"/tenants/{slug}/guests").status == 404
