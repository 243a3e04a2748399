"""Quota: reserved under row locks in the transaction of the rows it pays for, so it is exact and never asks a host.

Counters include a tenant's children, so a reservation moves the rows of the whole lineage.

Lock order of the house: the operation, the guest (or other thing) that is acted on, **the quota of its lineage, root first**,
hosts, subnets, journals (root first, too). One row of each tenant is its gate (``GATE``): whoever holds the gates of a lineage
may read and write all its quota rows, in any order and more than once in a transaction; nobody writes one without. Therefore:

* take the gates before anything that is below them in that list, since ``quota_reserve`` also writes to the journals;
* whoever acts on several guests in one transaction locks all of them first, by id, then moves the counters;
* a tenant's own row is not in the list: lock it with ``no_key``, since rows that point at it are written under the gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Case, F, Sum, Value, When
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.errors import Conflict, OverQuota
from tenants.journal.events import event_append
from tenants.models import Quota, RateUse, Tenant
from tenants.scoping import tenant_scope
from tenants.services.quota.reckon import Amounts, Line, Rates, Rows, reckon, refuse_short
from tenants.services.quota.resources import DISK_OF, RATE_WINDOW, Kind, kind_of
from tenants.services.quota.soft import soft_watch

GATE: Final = "guests"
"""The resource whose row stands for all of a tenant's; every tenant has it from its first moment."""


class NoQuota(OverQuota):
    """The tenant, or one above it, has no rows of quota: nothing can be made there."""

    code = "no_quota"
    message = gettext_lazy("No quota has been set up for this project.")
    hint = gettext_lazy("Ask the operator.")


def tenant_lineage(tenant: Tenant) -> list[Tenant]:
    """The tenant's ancestors, root first, and itself last."""
    line = [tenant]
    while line[0].parent_id is not None:
        parent = line[0].parent
        if parent is None or parent in line:
            raise Conflict(code="tenant_cycle")
        line.insert(0, parent)
    return line


def quota_lock(tenant: Tenant) -> list[Tenant]:
    """Hold the quota of ``tenant`` and its ancestors until the transaction ends; the lineage, root first. Safe to repeat."""
    lineage = tenant_lineage(tenant)
    for ancestor in lineage:
        gate = Quota.objects.select_for_update(no_key=True).filter(tenant=ancestor, resource=GATE)
        if not list(gate.values_list("pk", flat=True)):
            raise NoQuota
    return lineage


def quota_reserve(tenant: Tenant, amounts: Amounts, *, forced: bool = False) -> None:
    """Take ``amounts`` for ``tenant`` or raise ``OverQuota`` naming every resource that lacks room; all or nothing.

    Each name's kind says what its amount means: one more in use, the size of a single machine, one more within a day. Must run
    in the transaction that writes what is paid for; a rate's use vanishes with it. ``forced`` refuses nothing: for what has
    happened already, so that the counters go on saying what is so.
    """
    amounts = _positive(amounts)
    if not amounts:
        return
    at = now()
    lineage = quota_lock(tenant)
    rows = _rows(lineage, amounts, make=True)
    if not forced:
        refuse_short(reckon(lineage, rows, amounts, _rates(lineage, amounts, at), at))
    _count(lineage, rows, amounts, 1, at)
    _note_rates(lineage, amounts, at)


def quota_release(tenant: Tenant, amounts: Amounts) -> None:
    """Give ``amounts`` of what is held back; a counter can not fall below zero (the database refuses)."""
    amounts = _positive(amounts)
    if not amounts:
        return
    lineage = quota_lock(tenant)
    _count(lineage, _rows(lineage, amounts, make=True), amounts, -1, now())


def quota_foresee(tenant: Tenant, amounts: Amounts) -> list[Line]:
    """What ``quota_reserve`` would find, without taking anything or waiting for anybody."""
    amounts = _positive(amounts)
    at = now()
    lineage = tenant_lineage(tenant)
    rows = _rows(lineage, amounts, make=False)
    return reckon(lineage, rows, amounts, _rates(lineage, amounts, at), at)


def quota_rates(tenant: Tenant, *, at: datetime) -> dict[str, int]:
    """What a tenant used of each rate within the last day."""
    uses = RateUse.objects.filter(tenant=tenant, at__gt=at - RATE_WINDOW).order_by()
    return dict(uses.values_list("resource").annotate(n=Sum("amount")))


def _positive(amounts: Amounts) -> dict[str, int]:
    if any(amount < 0 for amount in amounts.values()):
        raise ValueError("amounts of quota are positive")
    for name in amounts:
        kind_of(name)
    return {name: amount for name, amount in amounts.items() if amount}


def _rows(lineage: Sequence[Tenant], amounts: Amounts, *, make: bool) -> Rows:
    """The rows that ``amounts`` touch; a storage class's are made with its first use where ``make`` (under the gates)."""
    found = Quota.objects.filter(tenant__in=lineage, resource__in=amounts)
    rows = {(row.tenant_id, row.resource): row for row in found}
    missing = [(level, name) for level in lineage for name in amounts if (level.pk, name) not in rows]
    if any(not name.startswith(DISK_OF) for _level, name in missing):
        raise NoQuota
    if make and missing:
        fresh = Quota.objects.bulk_create(Quota(tenant=level, resource=name) for level, name in missing)
        rows |= {(row.tenant_id, row.resource): row for row in fresh}
    return rows


def _rates(lineage: Sequence[Tenant], amounts: Amounts, at: datetime) -> Rates:
    names = [name for name in amounts if kind_of(name) == Kind.RATE]
    if not names:
        return {}
    uses = RateUse.objects.filter(tenant__in=lineage, resource__in=names, at__gt=at - RATE_WINDOW).order_by()
    sums: dict[tuple[UUID, str], int] = {
        (row["tenant"], row["resource"]): row["n"]
        for row in uses.values("tenant", "resource").annotate(n=Sum("amount"))
    }
    return sums


def _note_rates(lineage: Sequence[Tenant], amounts: Amounts, at: datetime) -> None:
    """Write down what was used of rates, and let go of what has left their window."""
    uses = {name: amount for name, amount in amounts.items() if kind_of(name) == Kind.RATE}
    if not uses:
        return
    RateUse.objects.filter(tenant__in=lineage, resource__in=uses, at__lte=at - RATE_WINDOW).delete()
    RateUse.objects.bulk_create(
        RateUse(tenant=level, resource=name, amount=amount, at=at) for level in lineage for name, amount in uses.items()
    )


def _count(lineage: Sequence[Tenant], rows: Rows, amounts: Amounts, sign: int, at: datetime) -> None:
    """Move the counters of the whole lineage, watch its soft limits and tell its pages; under the gates."""
    held = {name: sign * amount for name, amount in amounts.items() if kind_of(name) == Kind.HELD}
    if held:
        moves = Case(*(When(resource=name, then=Value(amount)) for name, amount in held.items()))
        Quota.objects.filter(tenant__in=lineage, resource__in=held).update(used=F("used") + moves)
    for level in lineage:
        with tenant_scope(level):  # an ancestor's journal is its own
            for name, amount in held.items():
                row = rows[level.pk, name]
                row.used += amount
                soft_watch(level, row, at)
            event_append(level, "quota.changed", "quota", level.pk)
