"""Who asks: everybody that a policy can tell apart, with what they hold in the tenant of a ``World``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from portal.core.clock import now
from tenants.models import ApiToken, User
from tenants.policy import ALL_TENANT_PERMISSIONS, BUILT_IN_ROLES, SUSPENDED_TENANT, Permission
from tenants.services.tenants import tenant_suspend
from tenants.services.tokens import Scope, token_create
from tests import factories
from tests.architecture.world import World

TAG = "qa"
"""Worn by no machine of a ``World``."""
DEAD = ("nobody", "expired", "revoked", "unknown", "switched off")
ROLES = (*BUILT_IN_ROLES, "tagged")
LIVING = (*ROLES, "small token", "suspended", "stranger", "operator")
SIGNED_IN = tuple(name for name in LIVING if name != "small token")
ALIKE = frozenset({"admin", "billing"})
"""Told apart from the others by their permissions alone: swept with ``--long``."""
SMALL = frozenset({Permission.GUEST_VIEW, Permission.OPERATION_VIEW})


def swept(names: Iterable[str]) -> list[Any]:
    """Personas for ``parametrize``."""
    return [pytest.param(name, marks=pytest.mark.long if name in ALIKE else ()) for name in names]


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody with a bearer token (empty: without) and what they may in the world's tenant; ``person`` has a browser."""

    name: str
    token: str
    permissions: frozenset[Permission]
    person: User | None = None

    @property
    def belongs(self) -> bool:
        """Has the tenant to do with them?"""
        return self.name not in DEAD and self.name != "stranger"


def persona(name: str, world: World) -> Persona:
    """The one of that name; ``suspended`` takes the world's tenant along."""
    tenant, owner = world.house.tenant, world.house.owner
    if name in DEAD:
        return Persona(name, _dead_token(name, world), frozenset())
    if name in BUILT_IN_ROLES:
        person = owner if name == "owner" else factories.user()
        if person is not owner:
            factories.join(tenant, person, role=name)
        return Persona(name, _token(person), BUILT_IN_ROLES[name], person)
    if name == "tagged":
        person, token = factories.member_with(tenant, ALL_TENANT_PERMISSIONS, tags=[TAG])
        return Persona(name, token, ALL_TENANT_PERMISSIONS, person)
    if name == "small token":
        return Persona(name, _token(owner, sorted(SMALL)), SMALL)
    if name == "suspended":
        tenant_suspend(tenant, reason="Unpaid.", actor=factories.desk())
        return Persona(name, world.house.token, SUSPENDED_TENANT & ALL_TENANT_PERMISSIONS, owner)
    if name == "stranger":
        other = factories.tenant_with_owner()
        return Persona(name, other.token, frozenset(), other.owner)
    person, token = factories.operator()
    return Persona(name, token, ALL_TENANT_PERMISSIONS | {Permission.OPERATE}, person)


def _token(person: User, permissions: list[Permission] | None = None) -> str:
    scope = Scope(None if permissions is None else [p.value for p in permissions])
    return token_create(person, name="persona", actor=factories.desk(), scope=scope)[1]


def _dead_token(name: str, world: World) -> str:
    if name == "nobody":
        return ""
    if name == "unknown":
        return "gh_00000000_never-was"
    person = factories.user()
    factories.join(world.house.tenant, person, role="owner")
    row, raw = token_create(person, name=name, actor=factories.desk())
    if name == "switched off":
        User.objects.filter(pk=person.pk).update(is_active=False)
        return raw
    gone = {"expired": {"expires_at": now() - timedelta(seconds=1)}, "revoked": {"revoked_at": now()}}[name]
    ApiToken.objects.filter(pk=row.pk).update(**gone)
    return raw
