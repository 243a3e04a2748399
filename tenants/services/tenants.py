"""A tenant's life: made, renamed, suspended, taken up again."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import SLUG, Journal, Tenant, TenantState
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_provide

RESERVED_SLUGS = frozenset({"new", "all", "api", "operator", "static", "account"})


@transaction.atomic
def tenant_create(
    *, slug: str, name: str, actor: Actor, parent: Tenant | None = None, limits: Mapping[str, int | None] | None = None
) -> Tenant:
    """Make a tenant with its journal and quota; its first network is made with its first need."""
    actor.require(Permission.OPERATE)
    try:
        SLUG(slug)
    except ValidationError as error:
        raise Invalid(errors=[FieldError("/slug", "invalid_slug", error.messages[0])]) from error
    if slug in RESERVED_SLUGS:
        raise Invalid(errors=[FieldError("/slug", "reserved_slug", _("This short name is taken by the portal."))])
    name = _checked_name(name)
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(slug=slug, name=name, parent=parent)
    except IntegrityError as error:
        raise Conflict(_("A project with this short name exists."), code="slug_taken") from error
    Journal.objects.create(tenant=tenant)
    with tenant_scope(tenant):
        quota_provide(tenant, limits)
        audit_record(actor, "tenant.create", tenant, tenant=tenant, slug=slug)
    return tenant


def _checked_name(name: str) -> str:
    """The name without blanks around it; raises ``Invalid`` where it is empty, too long or not plain text."""
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise Invalid(errors=[FieldError("/name", "invalid_name", _("A name of at most 100 characters is needed."))])
    return name


@transaction.atomic
def tenant_rename(tenant: Tenant, *, name: str, actor: Actor) -> Tenant:
    """Change what the tenant is called; its slug stays."""
    actor.require(Permission.TENANT_EDIT)
    before, tenant.name = tenant.name, _checked_name(name)
    tenant.version += 1
    tenant.save(update_fields=["name", "version"])
    audit_record(actor, "tenant.rename", tenant, tenant=tenant, name=[before, tenant.name])
    event_append(tenant, "tenant.changed", "tenant", tenant.pk)
    return tenant


@transaction.atomic
def tenant_suspend(tenant: Tenant, *, reason: str, actor: Actor) -> Tenant:
    """Stop everything a tenant's people may do but look; consoles and live pages close. Suspended already is fine."""
    return _tenant_move(tenant, TenantState.SUSPENDED, action="tenant.suspend", reason=reason, actor=actor)


@transaction.atomic
def tenant_unsuspend(tenant: Tenant, *, reason: str = "", actor: Actor) -> Tenant:
    """Take a suspended tenant up again."""
    return _tenant_move(tenant, TenantState.ACTIVE, action="tenant.unsuspend", reason=reason, actor=actor)


def _tenant_move(tenant: Tenant, state: TenantState, *, action: str, reason: str, actor: Actor) -> Tenant:
    actor.require(Permission.OPERATE)
    with every_tenant(why="an operator suspends or revives a tenant"):
        # Rows that point at the tenant may be written meanwhile; and its journal is locked after its machines.
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if tenant.state == state:
            return tenant
        if tenant.state == TenantState.CLOSED:
            raise Conflict(_("This project is closed."), code="tenant_closed")
        before, tenant.state = tenant.state, state
        tenant.version += 1
        tenant.save(update_fields=["state", "version"])
        announce(
            "tenant.suspended" if state == TenantState.SUSPENDED else "tenant.unsuspended", tenant=tenant, actor=actor
        )
        audit_record(actor, action, tenant, tenant=tenant, state=[before, state.value], reason=reason)
        event_append(tenant, "tenant.changed", "tenant", tenant.pk)
        if state == TenantState.SUSPENDED:
            announce("access.revoked", user=None, tenant=tenant, session="", reason="tenant suspended")
    return tenant
