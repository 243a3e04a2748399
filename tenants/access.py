"""The only door in: a session, a token or a websocket becomes an ``Actor``, or nobody."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError

from portal.core.clock import now
from tenants.actors import Actor, role_reach
from tenants.models import SLUG, ApiToken, Member, Tenant, TenantState, User
from tenants.policy import ALL_TENANT_PERMISSIONS, Permission
from tenants.scoping import tenant_scope
from tenants.services.tokens import token_digest, token_session


def session_mark(session_key: str | None) -> str:
    """A name for a browser session that is safe to store and compare: consoles carry it."""
    return "session:" + hashlib.sha256((session_key or "").encode()).hexdigest()[:40] if session_key else ""


def tenant_by_slug(slug: str) -> Tenant | None:
    """The tenant of that slug; closed ones are not there, nor is what cannot be a slug."""
    try:
        SLUG(slug)
    except ValidationError:
        return None
    return Tenant.objects.filter(slug=slug).exclude(state=TenantState.CLOSED).first()


def actor_for_user(user: Any, tenant: Tenant | None, *, via: str, **facts: Any) -> Actor | None:
    """What ``user`` may do in ``tenant``: by membership, or as an operator; None for anybody else."""
    if not isinstance(user, User) or not user.is_active:
        return None
    if tenant is None:
        permissions = frozenset(Permission) if user.is_staff else frozenset()
        return Actor(user, None, permissions, via, role="operator" if user.is_staff else "", **facts)
    with tenant_scope(tenant):
        member = Member.objects.select_related("role").filter(user=user).first()
    if user.is_staff:
        return Actor(user, tenant, ALL_TENANT_PERMISSIONS | {Permission.OPERATE}, via, role="operator", **facts)
    if member is None:
        return None
    role = member.role
    permissions, tagged = role_reach(role.permissions, role.tagged, role.tags, tenant)
    return Actor(user, tenant, permissions, via, role=role.name, tagged=tagged, **facts)


def actor_for_token(raw: str, tenant: Tenant | None, **facts: str) -> Actor | None:
    """What a bearer token may do: its owner's permissions now, cut to its scopes; None if dead, or of another tenant.

    A token of a tenant opens only that tenant; one without opens whatever its owner may.
    """
    token = ApiToken.objects.select_related("user", "tenant").filter(digest=token_digest(raw), revoked_at=None).first()
    if token is None or (token.expires_at is not None and token.expires_at <= now()):
        return None
    if token.tenant_id is not None and tenant is not None and token.tenant_id != tenant.pk:
        return None
    owner = token.user
    if owner is None:
        return None
    actor = actor_for_user(owner, tenant, via="token", session=token_session(token), token_id=str(token.pk), **facts)
    if actor is None:
        return None
    permissions = actor.permissions
    if token.tenant_id is not None:
        permissions -= {Permission.OPERATE}
        if not tenant and owner.is_staff:
            permissions = frozenset()
    if token.permissions is not None:
        permissions &= {Permission(p) for p in token.permissions if p in Permission._value2member_map_}
    if token.last_used_at is None or now() - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now())
    return Actor(
        actor.user,
        tenant,
        frozenset(permissions),
        "token",
        role=actor.role,
        tagged=actor.tagged,
        session=actor.session,
        address=actor.address,
        request_id=actor.request_id,
        token_id=actor.token_id,
    )
