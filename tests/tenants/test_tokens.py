"""Tokens are never stronger than what made them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal.core.clock import now
from tenants.models import ApiToken, AuditEntry, Member
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.members import member_remove
from tenants.services.tokens import Scope, token_create, token_revoke
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


@pytest.mark.parametrize("wish", [{}, {"role": "member"}], ids=["personal", "service"])
def test_what_a_token_made_ends_with_it(wish: dict[str, str]) -> None:
    """Who read a leaked token's text keeps nothing that they made with it."""
    house = factories.tenant_with_owner()
    with tenant_scope(house.tenant):
        leaked, text = token_create(house.owner, name="leaked", actor=house.actor, tenant=house.tenant)
    child = Rest(text).post(f"{house.url}/tokens", {"name": "child", **wish}).json
    grandchild = Rest(child["token"]).post(f"{house.url}/tokens", {"name": "grandchild"})

    revoked = Rest(house.token).delete(f"{house.url}/tokens/{leaked.pk}")

    assert (child["made_with"], revoked.status) == (str(leaked.pk), 204)
    texts = [text, child["token"], *([grandchild.json["token"]] if not wish else [])]
    assert [Rest(one).get(f"{house.url}/guests").status for one in texts] == [401] * len(texts)
    with tenant_scope(house.tenant):
        assert AuditEntry.objects.filter(action="token.revoke").count() == len(texts)


def test_what_a_members_token_made_ends_with_the_membership() -> None:
    house = factories.tenant_with_owner()
    second = factories.user()
    factories.join(house.tenant, second, role="admin")
    with tenant_scope(house.tenant):
        _row, text = token_create(
            second, name="theirs", actor=factories.actor_in(house.tenant, second), tenant=house.tenant
        )
        child = Rest(text).post(f"{house.url}/tokens", {"name": "robot", "role": "member"}).json

        member_remove(Member.objects.get(user=second), actor=house.actor)

    assert Rest(child["token"]).get(f"{house.url}/guests").status == 401


def test_an_operators_token_takes_along_what_it_made_in_any_tenant() -> None:
    house = factories.tenant_with_owner()
    person, text = factories.operator()
    child = Rest(text).post(f"{house.url}/tokens", {"name": "robot", "role": "member"}).json

    token_revoke(ApiToken.objects.get(user=person), actor=factories.desk())

    assert Rest(child["token"]).get(f"{house.url}/guests").status == 401


@pytest.mark.parametrize("slug", ["%00", "a%00b", "A", "a%20b", "%F0%9F%98%80", "x" * 300])
def test_what_cannot_be_a_slug_is_nobodys_tenant(slug: str) -> None:
    house = factories.tenant_with_owner()

    assert Rest(house.token).get(f"/tenants/{slug}/guests").status == 404
