"""Limits: provided with a tenant's first moment, changed by operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Quota, Tenant
from tenants.policy import Permission
from tenants.services.quota.reserve import quota_lock
from tenants.services.quota.resources import RESOURCES, Kind, is_resource, kind_of
from tenants.services.quota.soft import soft_watch

if TYPE_CHECKING:
    from tenants.actors import Actor

LIMIT_MAX: Final = 2**53 - 1
type Limits = Mapping[str, int | None]
"""By resource; None is no limit."""


def quota_provide(tenant: Tenant, limits: Limits | None = None) -> None:
    """Make sure every resource has a row; missing ones get ``limits`` or the installation's default. Safe to repeat."""
    limits = limits or {}
    refuse_unknown(limits)
    wanted = {**settings.DEFAULT_QUOTA, **limits}
    known = set(Quota.objects.filter(tenant=tenant).values_list("resource", flat=True))
    missing = [name for name in dict.fromkeys([*RESOURCES, *limits]) if name not in known]
    fresh = [Quota(tenant=tenant, resource=name, limit=wanted.get(name)) for name in missing]
    Quota.objects.bulk_create(fresh, ignore_conflicts=True)


@transaction.atomic
def quota_set(tenant: Tenant, limits: Limits, *, actor: Actor, soft: Limits | None = None) -> None:
    """Change limits and soft limits; what is not named stays.

    A limit below what is used is allowed: it stops new things, never running ones. One below the soft limit takes that away.
    Raises ``Invalid`` for what is no resource, and for a soft limit above the limit or on what has no counter.
    """
    actor.require(Permission.OPERATE)
    soft = soft or {}
    refuse_unknown(limits)
    refuse_unknown(soft, place="/soft")
    quota_provide(tenant)
    quota_lock(tenant)
    quota_provide(tenant, dict.fromkeys({*limits, *soft}))  # a storage class's rows are made under the gates only
    changes: dict[str, list[int | None]] = {}
    at = now()
    for row in Quota.objects.filter(tenant=tenant, resource__in={*limits, *soft}).order_by("resource"):
        changes |= _set(row, limits.get(row.resource, row.limit), soft.get(row.resource, row.soft_limit))
        row.save(update_fields=["limit", "soft_limit"])
        soft_watch(tenant, row, at)
    if changes:
        audit_record(actor, "quota.set", tenant, tenant=tenant, **changes)
        event_append(tenant, "quota.changed", "quota", tenant.pk)


def _set(row: Quota, limit: int | None, soft: int | None) -> dict[str, list[int | None]]:
    """Put both on the row; what changed, as pairs of before and after."""
    if soft is not None and limit is not None and soft > limit:
        if soft != row.soft_limit:
            message = _("A soft limit is not above the limit.")
            raise Invalid(errors=[FieldError(f"/soft/{row.resource}", "soft_above_hard", message)])
        soft = None
    if soft is not None and kind_of(row.resource) != Kind.HELD:
        message = _("Only what is in use for a time has a soft limit.")
        raise Invalid(errors=[FieldError(f"/soft/{row.resource}", "no_soft_limit", message)])
    changes = {}
    if row.limit != limit:
        changes[row.resource] = [row.limit, limit]
    if row.soft_limit != soft:
        changes[f"{row.resource} (soft)"] = [row.soft_limit, soft]
    row.limit, row.soft_limit = limit, soft
    return changes


def refuse_unknown(limits: Limits, *, place: str = "") -> None:
    """Raise ``Invalid`` for every name that is no resource and every number that is no limit."""
    errors = [
        FieldError(f"{place}/{name}", "unknown_resource", _("There is no such resource."))
        for name in limits
        if not is_resource(name)
    ]
    errors += [
        FieldError(f"{place}/{name}", "invalid_limit", _("A limit is a whole number from 0, or nothing."))
        for name, limit in limits.items()
        if limit is not None and not 0 <= limit <= LIMIT_MAX
    ]
    if errors:
        raise Invalid(errors=errors)
