"""A tenant is made, and called something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import SLUG, Journal, Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_provide

RESERVED_SLUGS: Final = frozenset({"new", "all", "api", "operator", "static", "account"})
DEPTH_MAX: Final = 5
"""How many tenants may stand one above another."""


@transaction.atomic
def tenant_create(
    *, slug: str, name: str, actor: Actor, parent: Tenant | None = None, limits: Mapping[str, int | None] | None = None
) -> Tenant:
    """Make a tenant with its journal and quota; its first network is made with its first need.

    A child is bounded by its parent's quota, and stands no better than the parent does. Raises ``Invalid``, or ``Conflict``
    where the short name is taken (a closed tenant keeps its own), or the parent takes no children now.
    """
    actor.require(Permission.OPERATE)
    try:
        SLUG(slug)
    except ValidationError as error:
        raise Invalid(errors=[FieldError("/slug", "invalid_slug", error.messages[0])]) from error
    if slug in RESERVED_SLUGS:
        raise Invalid(errors=[FieldError("/slug", "reserved_slug", _("This short name is taken by the portal."))])
    name = _checked_name(name)
    if parent is not None:
        parent = _checked_parent(parent)
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(slug=slug, name=name, parent=parent)
    except IntegrityError as error:
        raise Conflict(_("A project with this short name exists."), code="slug_taken") from error
    Journal.objects.create(tenant=tenant)
    with tenant_scope(tenant):
        quota_provide(tenant, limits)
        above = {"parent": parent.slug} if parent is not None else {}
        audit_record(actor, "tenant.create", tenant, tenant=tenant, slug=slug, name=name, **above)
    return tenant


def _checked_parent(parent: Tenant) -> Tenant:
    """The parent, locked so that it is not closed meanwhile."""
    parent = Tenant.objects.select_for_update(no_key=True).get(pk=parent.pk)
    if not parent.is_active:
        raise Conflict(_("The project above it is not active."), code="parent_not_active", hint="")
    if len(list(parent.line())) >= DEPTH_MAX:
        raise Conflict(
            _("At most %(depth)d projects stand one above another."), code="too_deep", depth=DEPTH_MAX, hint=""
        )
    return parent


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
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    before, tenant.name = tenant.name, _checked_name(name)
    tenant.version += 1
    tenant.save(update_fields=["name", "version"])
    audit_record(actor, "tenant.rename", tenant, tenant=tenant, name=[before, tenant.name])
    event_append(tenant, "tenant.changed", "tenant", tenant.pk)
    return tenant
