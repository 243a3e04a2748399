"""The only door in: a session, a token or a websocket becomes an ``Actor``, or nobody."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet

from tenants.actors import Actor, Tagged, cut, role_reach
from tenants.models import SLUG, ApiToken, Member, Role, Tenant, TenantState, User, Visit
from tenants.policy import ALL_TENANT_PERMISSIONS, READ_ONLY, WHO_COMES_IN, Permission
from tenants.prepared import Given, columns_of, prepared
from tenants.scoping import tenant_scope
from tenants.selectors import tenant_with_line
from tenants.services.second_factor import lacks_second_factor
from tenants.services.tokens import token_find, token_session, token_used
from tenants.services.visits import visit_living

SCREENS: Final = frozenset({"browser", "websocket"})
"""Where an operator is a person like any other: a tenant's pages open by membership, or by a visit with a reason."""
AT_THE_DOOR: Final = frozenset({Permission.OPERATE})
"""What an operator may at a tenant's pages without either: ask to be let in."""


ROLE: Final = columns_of(Role)
NOWHERE: Final = Tenant(pk=UUID(int=0), slug="", name="")
"""A tenant that is not there: nobody is its member, and finding that out takes the same queries as of one that is."""


def session_mark(session_key: str | None) -> str:
    """A name for a browser session that is safe to store and compare: consoles carry it."""
    return "session:" + hashlib.sha256((session_key or "").encode()).hexdigest()[:40] if session_key else ""


def tenant_by_slug(slug: str) -> Tenant | None:
    """The tenant of that slug, with those above it; closed ones are not there, nor is what cannot be a slug."""
    try:
        SLUG(slug)
    except ValidationError:
        return None
    tenant = tenant_with_line(slug)
    return None if tenant is None or tenant.state == TenantState.CLOSED else tenant


def actor_for_user(user: Any, tenant: Tenant | None, *, via: str, **facts: Any) -> Actor | None:
    """What ``user`` may do in ``tenant``: by membership, as an operator, or on a visit; None for anybody else.

    Who lacks the second factor that is asked of them here is known, and may nothing.
    """
    if not isinstance(user, User) or not user.is_active:
        return None
    actor = _actor_by_role(user, tenant, via=via, **facts)
    # A tenant's wish binds its people and whoever visits it, not an operator's scripts: it could lock operators out.
    if actor is not None and lacks_second_factor(user, None if actor.is_operator else tenant):
        return replace(actor, permissions=frozenset(), tagged={}, lacks="second_factor")
    return actor


def _actor_by_role(user: User, tenant: Tenant | None, *, via: str, **facts: Any) -> Actor | None:
    if tenant is None:
        permissions = frozenset(Permission) if user.is_staff else frozenset()
        return Actor(user, None, permissions, via, role="operator" if user.is_staff else "", **facts)
    if user.is_staff and via not in SCREENS:
        return Actor(user, tenant, ALL_TENANT_PERMISSIONS | {Permission.OPERATE}, via, role="operator", **facts)
    with tenant_scope(tenant):
        role = next((Role.from_db(DEFAULT_DB_ALIAS, ROLE, row) for row in _role_rows(user=user.pk)), None)
        visit = visit_living(user, tenant, facts.get("session", "")) if user.is_staff else None
    if visit is not None:
        return _visitor(visit, tenant, via, facts)
    if role is None:
        return Actor(user, tenant, AT_THE_DOOR, via, role="operator", **facts) if user.is_staff else None
    permissions, tagged = _reach(role, tenant)
    return Actor(user, tenant, permissions, via, role=role.name, tagged=tagged, **facts)


@prepared
def _role_rows() -> QuerySet[Any, tuple[Any, ...]]:
    """What role somebody has in the scope's tenant; none or one."""
    rows = Member.objects.filter(user=Given("user", User._meta.pk))
    return rows.values_list(*(f"role__{name}" for name in ROLE))


def _reach(role: Role, tenant: Tenant) -> tuple[frozenset[Permission], Tagged]:
    return role_reach(role.permissions, role.tagged, role.tags, tenant)


def _visitor(visit: Visit, tenant: Tenant, via: str, facts: dict[str, Any]) -> Actor:
    """An operator in a member's place: never more than the member, only looking unless they said otherwise.

    Who comes in is never theirs to change: what they let in would stay when the visit is over.
    """
    member = visit.member
    assert member is not None
    permissions, tagged = _reach(member.role, tenant)
    return Actor(
        visit.operator,
        tenant,
        permissions - WHO_COMES_IN if visit.may_change else permissions & READ_ONLY,
        via,
        role=member.role.name,
        tagged=tagged,
        visit=str(visit.pk),
        place=member.user.email,
        **facts,
    )


def actor_for_token(raw: str, tenant: Tenant | None, *, address: str = "", **facts: str) -> Actor | None:
    """What a bearer token may do now; None if dead, of another tenant, or from where it may not be used.

    Its owner's permissions (a person's by membership, a service token's by its role), cut to its scopes. A token of a tenant
    opens only that tenant; one without opens whatever its owner may.
    """
    token = token_find(raw, address=address)
    if token is None or (token.tenant_id is not None and tenant is not None and token.tenant_id != tenant.pk):
        return None
    known: dict[str, Any] = {"session": token_session(token), "token_id": str(token.pk), "address": address, **facts}
    actor = _owner_of(token, tenant, known)
    if actor is None:
        return None
    permissions = actor.permissions
    if token.tenant_id is not None:
        permissions = permissions - {Permission.OPERATE} if tenant is not None else frozenset()
    if token.permissions is not None:
        permissions &= {Permission(p) for p in token.permissions if p in Permission._value2member_map_}
    token_used(token, address)
    return replace(actor, permissions=permissions, tagged=cut(actor.tagged, token.tags), until=token.expires_at)


def _owner_of(token: ApiToken, tenant: Tenant | None, known: dict[str, Any]) -> Actor | None:
    """The person behind a token, or the tenant itself where it is a service token."""
    if token.user is not None:
        return actor_for_user(token.user, tenant, via="token", **known)
    role = token.role
    if role is None:
        return None
    name = f"token {token.name} ({token.prefix})"
    if tenant is None:
        return Actor(None, None, frozenset(), "token", role=role.name, name=name, **known)
    permissions, tagged = _reach(role, tenant)
    return Actor(None, tenant, permissions, "token", role=role.name, tagged=tagged, name=name, **known)
