"""The usage ledger as ``billing.metering`` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from billing.metering import Span
from tenants.journal.models import UsageInterval

CHUNK: Final = 5000
_COLUMNS: Final = (
    "tenant_id", "resource_type", "resource_id", "meter", "quantity", "attributes", "started_at", "ended_at",
)  # fmt: skip


def spans(since: datetime, until: datetime, **of: Any) -> Iterator[Span]:
    """Every interval that meets [``since``, ``until``), by resource, meter and time, a few thousand in memory at once.

    ``of`` narrows by columns. Needs the scope of what is asked.
    """
    for row in _meeting(since, until).filter(**of).values_list(*_COLUMNS).iterator(chunk_size=CHUNK):
        yield Span(*row)


def first_moment() -> datetime | None:
    """When the ledger begins; None while it is empty."""
    return UsageInterval.objects.order_by("started_at").values_list("started_at", flat=True).first()


def late_since(moment: datetime) -> dict[Any, datetime]:
    """What was written down late since ``moment``: of each resource the earliest beginning of such an interval."""
    found: dict[Any, datetime] = {}
    for pk, started in UsageInterval.objects.filter(late_at__gte=moment).values_list("resource_id", "started_at"):
        found[pk] = min(found.get(pk, started), started)
    return found


def _meeting(since: datetime, until: datetime) -> QuerySet[UsageInterval]:
    ended = Q(ended_at=None) | Q(ended_at__gt=since)
    return UsageInterval.objects.filter(ended, started_at__lt=until).order_by("resource_id", "meter", "started_at")
