"""A closing tenant's end, once its grace is over: everything it has is taken away, then its people and tokens.

The rooms above register what they take away (``@takes_away``). Each thing goes by its own operation, in its own transaction,
so that a worker may die at any moment: the next round looks at what is left. A host that does not answer delays the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.db import transaction

from portal.core.clock import now
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import (
    ApiToken,
    Invitation,
    Member,
    QuotaHold,
    QuotaRequest,
    RateUse,
    Role,
    SignInDomain,
    SignInJoin,
    Tenant,
    TenantState,
)
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants.telling import owners_tell

log = structlog.get_logger(__name__)
OWNER: Final = Permission.OWNER_MANAGE.value
WHY: Final = "closing"
"""What the journal calls the portal while it ends a tenant."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that a tenant still has, and what it waits for, in a sentence."""

    kind: str
    name: str
    why: str


Taker = Callable[[Tenant, Actor | None], list[Left]]
_takers: list[Taker] = []


def takes_away(function: Taker) -> Taker:
    """Register what asks for the removal of a tenant's things and says what is left; without an actor it only says.

    Called in the tenant's scope, again and again; each removal is a transaction of its own.
    """
    if function not in _takers:
        _takers.append(function)
    return function


def tenant_left(tenant: Tenant) -> list[Left]:
    """What a tenant still has; changes nothing."""
    with tenant_scope(tenant):
        return [left for taker in _takers for left in taker(tenant, None)]


def tenants_purge(*, at: datetime | None = None) -> dict[str, int]:
    """One round over every tenant whose grace is over; by slug how many things are left. Safe to repeat and to kill."""
    at = at or now()
    due = Tenant.objects.filter(state=TenantState.CLOSING, purge_after__lte=at).order_by("purge_after")
    return {tenant.slug: len(tenant_purge(tenant, at=at)) for tenant in due}


def tenant_purge(tenant: Tenant, *, at: datetime) -> list[Left]:
    """Ask for the removal of everything a tenant has; with nothing left, close it. What is left, with what it waits for."""
    actor = system_actor(tenant, why=WHY)
    with tenant_scope(tenant):
        left = [one for taker in _takers for one in taker(tenant, actor)]
    left += [Left("tenant", child.name, "") for child in tenant.children.exclude(state=TenantState.CLOSED)]
    if not left:
        _close(tenant, actor, at)
        return []
    log.info("tenant_purge_waits", tenant=tenant.slug, left=len(left), first=left[0].name, why=left[0].why)
    return left


@transaction.atomic
def _close(tenant: Tenant, actor: Actor, at: datetime) -> None:
    """The last step: nobody is in it any more, and nothing opens it. Its audit log and usage stay."""
    # Without its key: whoever holds a journal goes on writing to it.
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if tenant.state != TenantState.CLOSING or tenant.purge_after is None or tenant.purge_after > at:
        return
    if tenant_left(tenant):
        return
    with every_tenant(why="the last things of a tenant that ends"):
        members = list(Member.objects.filter(tenant=tenant).select_related("user", "role").order_by("user__email"))
        for token in ApiToken.objects.filter(tenant=tenant):
            announce("access.revoked", user=None, tenant=None, session=f"token:{token.pk}", reason="tenant closed")
        for model in (ApiToken, Invitation, SignInDomain, SignInJoin, Member, QuotaRequest, QuotaHold, RateUse, Role):
            model._base_manager.filter(tenant=tenant).delete()
        emails = [member.user.email for member in members]
        before, tenant.state = tenant.state, TenantState.CLOSED
        tenant.state_since, tenant.purge_after, tenant.version = at, None, tenant.version + 1
        tenant.save(update_fields=["state", "state_since", "purge_after", "version"])
        audit_record(actor, "tenant.closed", tenant, tenant=tenant, state=[before, tenant.state], members=emails)
        event_append(tenant, "tenant.changed", "tenant", tenant.pk)
        owners_tell(tenant, "tenant.closed", owners=[m.user for m in members if OWNER in m.role.permissions])
        announce("access.revoked", user=None, tenant=tenant, session="", reason="tenant closed")
