"""The ledger of what is counted, not held: so many of a meter in an hour, added up as they are read.

An hour is added to while it lasts, by the clock of the database's writer, and never after ``FINAL_AFTER``: what is read late is
of the hour in which it is read. So a closed hour gives the same sums for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import models

from portal.core.clock import now
from tenants.scoping import TenantOwned

FINAL_AFTER: Final = timedelta(minutes=10)
"""How long after an hour's end its rows may still come: far longer than a transaction that adds to them may take."""
BATCH: Final = 400


class UsageCount(TenantOwned):
    """How much of one meter one resource used in the hour that begins at ``starts_at``; an hour without use has no row."""

    resource_type = models.CharField(max_length=32)
    resource_id = models.UUIDField()
    meter = models.CharField(max_length=40)
    quantity = models.PositiveBigIntegerField()
    attributes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    starts_at = models.DateTimeField()

    class Meta:
        app_label = "tenants"
        constraints = [
            models.UniqueConstraint(fields=["resource_id", "meter", "starts_at"], name="usage_count_once_an_hour")
        ]
        indexes = [models.Index(fields=["tenant", "starts_at"], name="usage_count_by_hour")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many more of a meter, by whole units of it."""

    tenant_id: UUID
    resource_type: str
    resource_id: UUID
    meter: str
    quantity: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


def counts_add(counts: Sequence[Count], *, at: datetime | None = None) -> None:
    """Add to this hour; runs in the caller's transaction, which has locked what it counts, so that one adds at a time.

    A clock that was set back adds to the newest hour there is, never to one before it. At most one ``Count`` of a resource and
    meter at a time; of zero nothing is written.
    """
    counts = [count for count in counts if count.quantity]
    hour = (at or now()).replace(minute=0, second=0, microsecond=0)
    for start in range(0, len(counts), BATCH):
        _add(counts[start : start + BATCH], hour)


def _add(counts: Sequence[Count], hour: datetime) -> None:
    rows: dict[tuple[UUID, str], UsageCount] = {}
    newer = UsageCount.objects.filter(resource_id__in={count.resource_id for count in counts}, starts_at__gte=hour)
    for row in newer.order_by("starts_at"):
        rows[row.resource_id, row.meter] = row
    changed = []
    for count in counts:
        row = rows.get((count.resource_id, count.meter)) or UsageCount(
            tenant_id=count.tenant_id,
            resource_type=count.resource_type,
            resource_id=count.resource_id,
            meter=count.meter,
            quantity=0,
            starts_at=hour,
        )
        row.quantity += count.quantity
        row.attributes = dict(count.attributes)
        changed.append(row)
    UsageCount.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["resource_id", "meter", "starts_at"],
        update_fields=["quantity", "attributes"],
    )
