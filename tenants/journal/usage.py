"""The usage ledger: one interval closes and the next opens in the transaction that changes what is in use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import F

from portal.core.clock import now
from tenants.journal.models import UsageInterval
from tenants.models import Tenant

LATE: Final = timedelta(hours=1)
"""What is written down longer after it was so is late: who closed the hour it fell into looks at it again."""


def usage_switch(
    tenant: Tenant, *, resource_type: str, resource_id: UUID, meter: str, quantity: int, at: datetime, **attributes: Any
) -> None:
    """From ``at`` on, the resource uses ``quantity`` of ``meter``; zero closes the interval.

    Seconds are whole: ``at`` is cut to the second, so intervals join without a gap. An ``at`` before what is written already
    (a clock was set back) counts from there: intervals never overlap. Repeating with the same quantity and attributes
    changes nothing.
    """
    last = (
        UsageInterval.objects.select_for_update()
        .filter(tenant=tenant, resource_id=resource_id, meter=meter)
        .order_by(F("ended_at").desc(nulls_first=True), "-started_at")
        .first()
    )
    at = at.replace(microsecond=0)
    if last is not None and last.ended_at is None:
        if last.quantity == quantity and last.attributes == attributes:
            return
        at = max(at, last.started_at)
        _end(last, at)
    elif last is not None and last.ended_at is not None:
        at = max(at, last.ended_at)
    if quantity:
        UsageInterval.objects.create(
            tenant=tenant,
            resource_type=resource_type,
            resource_id=resource_id,
            meter=meter,
            quantity=quantity,
            attributes=attributes,
            started_at=at,
            late_at=_late(at),
        )


def usage_close(tenant: Tenant, *, resource_ids: Iterable[UUID], at: datetime) -> None:
    """What is gone uses nothing: close whatever is open of it, whichever the meter. Safe to repeat."""
    open_ones = UsageInterval.objects.select_for_update().filter(
        tenant=tenant, resource_id__in=list(resource_ids), ended_at=None
    )
    for interval in open_ones.order_by("pk"):
        _end(interval, max(at.replace(microsecond=0), interval.started_at))


def _end(interval: UsageInterval, at: datetime) -> None:
    interval.ended_at, interval.late_at = at, _late(at) or interval.late_at
    interval.save(update_fields=["ended_at", "late_at"])


def _late(at: datetime) -> datetime | None:
    written = now()
    return written if written - at > LATE else None
