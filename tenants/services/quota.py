"""Quota: reserved under row locks in the transaction of the rows it pays for, so it is exact and never asks a host.

Lock order: the root of the tenant tree first, then down, resources by name. Counters include a tenant's children.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from portal.core.errors import Conflict, FieldError, Invalid, OverQuota
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Quota, Tenant
from tenants.policy import Permission

if TYPE_CHECKING:
    from tenants.actors import Actor

RESOURCES: Final = {
    "guests": _("machines"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("memory (MiB)"),
    "disk_gib": _("disk (GiB)"),
    "volumes": _("volumes"),
    "snapshots": _("snapshots"),
    "networks": _("networks"),
    "addresses": _("addresses"),
}
"""Every counted resource and its name in a sentence."""

type Amounts = Mapping[str, int]


def tenant_lineage(tenant: Tenant) -> list[Tenant]:
    """The tenant's ancestors, root first, and itself last."""
    line = [tenant]
    while line[0].parent_id is not None:
        parent = line[0].parent
        if parent is None or parent in line:
            raise Conflict(code="tenant_cycle")
        line.insert(0, parent)
    return line


def quota_provide(tenant: Tenant, limits: Mapping[str, int | None] | None = None) -> None:
    """Make sure every resource has a row; missing ones get ``limits`` or the installation's default. Safe to repeat."""
    wanted = {**settings.DEFAULT_QUOTA, **(limits or {})}
    for resource in RESOURCES:
        Quota.objects.get_or_create(tenant=tenant, resource=resource, defaults={"limit": wanted.get(resource)})


def _locked(tenant: Tenant, amounts: Amounts) -> list[Quota]:
    """The rows that ``amounts`` touch, root → leaf, locked in that order."""
    unknown = set(amounts) - set(RESOURCES)
    if unknown:
        raise ValueError(f"unknown quota resources {sorted(unknown)}")
    rows: list[Quota] = []
    for ancestor in tenant_lineage(tenant):
        found = list(
            Quota.objects.select_for_update().filter(tenant=ancestor, resource__in=amounts).order_by("resource")
        )
        if len(found) != len(amounts):
            raise OverQuota(_("No quota has been set up for this project."), code="no_quota")
        rows += found
    return rows


def quota_reserve(tenant: Tenant, amounts: Amounts) -> None:
    """Take ``amounts`` for ``tenant`` or raise ``OverQuota`` naming every resource that lacks room; all or nothing.

    Must run in the transaction that writes what is paid for.
    """
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if any(amount < 0 for amount in amounts.values()):
        raise ValueError("reserve positive amounts")
    rows = _locked(tenant, amounts)
    short = [row for row in rows if row.limit is not None and row.used + amounts[row.resource] > row.limit]
    if short:
        first = short[0]
        raise OverQuota(
            name=RESOURCES[first.resource],
            limit=first.limit,
            used=first.used,
            asked=amounts[first.resource],
            errors=[
                FieldError(
                    pointer=f"/quota/{row.resource}",
                    code="over_quota",
                    message=str(
                        OverQuota(
                            name=RESOURCES[row.resource], limit=row.limit, used=row.used, asked=amounts[row.resource]
                        )
                    ),
                )
                for row in short
            ],
        )
    for row in rows:
        Quota.objects.filter(pk=row.pk).update(used=F("used") + amounts[row.resource])
    if amounts:
        event_append(tenant, "quota.changed", "quota", tenant.pk)


def quota_release(tenant: Tenant, amounts: Amounts) -> None:
    """Give ``amounts`` back; a counter can not fall below zero (the database refuses)."""
    amounts = {name: amount for name, amount in amounts.items() if amount}
    for row in _locked(tenant, amounts):
        Quota.objects.filter(pk=row.pk).update(used=F("used") - amounts[row.resource])
    if amounts:
        event_append(tenant, "quota.changed", "quota", tenant.pk)


@transaction.atomic
def quota_set(tenant: Tenant, limits: Mapping[str, int | None], *, actor: Actor) -> None:
    """Change limits (None: unlimited). A limit below what is used is allowed: it stops new things, never running ones."""
    actor.require(Permission.OPERATE)
    unknown = [name for name in limits if name not in RESOURCES]
    if unknown:
        raise Invalid(
            errors=[
                FieldError(f"/{name}", "unknown_resource", str(_("There is no such resource."))) for name in unknown
            ]
        )
    quota_provide(tenant)
    changes: dict[str, list[int | None]] = {}
    for row in Quota.objects.select_for_update().filter(tenant=tenant, resource__in=limits).order_by("resource"):
        if row.limit != limits[row.resource]:
            changes[row.resource] = [row.limit, limits[row.resource]]
            row.limit = limits[row.resource]
            row.save(update_fields=["limit"])
    if changes:
        audit_record(actor, "quota.set", tenant, tenant=tenant, **changes)
        event_append(tenant, "quota.changed", "quota", tenant.pk)
